//! Finds files that import each other in a circle.
//!
//! A `mod.rs` is a file like all others: it uses the files below it, and they do not use its terms.

use std::collections::{BTreeMap, BTreeSet};

/// A module path below the crate: `["http", "client"]`.
type Path = Vec<String>;

/// One file, taken apart as far as the rule needs it.
#[derive(Default)]
struct File {
    /// The names that `use` and `mod` bring in, with the path of each.
    imports: BTreeMap<String, Path>,
    /// The paths and names that the code itself contains.
    uses: Vec<Path>,
}

/// Splits Rust code into names and signs, without comments, string literals and unit tests.
fn tokens(text: &str) -> Vec<String> {
    let text = text.split("\nmod tests {").next().unwrap_or("");
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = raw_text(rest) {
            raw
        } else if first == '"' {
            quoted(rest)
        } else if first == '\'' {
            character(rest)
        } else if is_name(first) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            found.push(rest[..end].to_owned());
            end
        } else {
            let sign = if rest.starts_with("::") {
                "::"
            } else {
                &rest[..first.len_utf8()]
            };
            if !sign.trim().is_empty() {
                found.push(sign.to_owned());
            }
            sign.len()
        };
        rest = &rest[length..];
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |(end, _)| end + 1)
}

fn raw_text(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let count = hashes
        .find('"')
        .filter(|end| hashes[..*end].chars().all(|c| c == '#'))?;
    let end = format!("\"{}", "#".repeat(count));
    let body = text.len() - hashes.len() + count + 1;
    Some(
        text[body..]
            .find(&end)
            .map_or(text.len(), |at| body + at + end.len()),
    )
}

/// Gives the length of a character literal, or of the quote in front of a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some(_)) => text[3..].find('\'').map_or(1, |end| end + 4),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

fn parse(text: &str) -> File {
    let (tokens, mut file, mut at) = (tokens(text), File::default(), 0);
    while at < tokens.len() {
        match tokens[at].as_str() {
            "use" => at = import(&tokens, at + 1, &[], &mut file),
            "mod" if tokens.get(at + 2).is_some_and(|next| next == ";") => {
                let name = tokens[at + 1].clone();
                file.imports.insert(name.clone(), vec!["self".into(), name]);
                at += 3;
            }
            name if name.starts_with(is_name) => {
                let mut path = vec![name.to_owned()];
                while tokens.get(at + 1).is_some_and(|next| next == "::")
                    && tokens
                        .get(at + 2)
                        .is_some_and(|next| next.starts_with(is_name))
                {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                file.uses.push(path);
                at += 1;
            }
            _ => at += 1,
        }
    }
    file
}

/// Reads one branch of a `use` tree and gives the index of the token behind it.
fn import(tokens: &[String], mut at: usize, prefix: &[String], file: &mut File) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = import(tokens, at, &path, file);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            "as" => {
                match tokens[at + 1].as_str() {
                    // Only the methods of this trait are used.
                    "_" => file.uses.push(path),
                    name => drop(file.imports.insert(name.to_owned(), path)),
                }
                return at + 2;
            }
            "::" => {}
            "," | "}" | ";" => break,
            "*" => {
                file.uses.push(path);
                return at + 1;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = path.last().cloned() {
        file.imports.insert(name, path);
    }
    at
}

pub(crate) struct Crate {
    files: BTreeMap<Path, File>,
}

impl Crate {
    /// Takes the files with their module paths; `lib.rs` has an empty one.
    pub(crate) fn new(files: impl IntoIterator<Item = (Path, String)>) -> Self {
        let files = files.into_iter().map(|(path, text)| (path, parse(&text)));
        Crate {
            files: files.collect(),
        }
    }

    /// Finds the file that defines what a path in a file's code names; `None` outside the crate.
    fn definition(&self, from: &[String], path: &[String], depth: usize) -> Option<Path> {
        if depth == 0 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let mut here = match first.as_str() {
            "crate" => Path::new(),
            "self" => from.to_vec(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            name => {
                let import = self.files.get(from)?.imports.get(name)?;
                // An external crate of that name is not ours.
                let is_own = ["crate", "self", "super"].contains(&import[0].as_str());
                if !is_own && import[0] == name {
                    return None;
                }
                return self.definition(from, &[import, rest].concat(), depth - 1);
            }
        };
        let mut is_item = false;
        for (index, name) in rest.iter().enumerate() {
            if name == "super" {
                here.pop()?;
                continue;
            }
            let below = [here.as_slice(), std::slice::from_ref(name)].concat();
            if self.files.contains_key(&below) {
                here = below;
            } else if self.files.get(&here)?.imports.contains_key(name) {
                return self.definition(&here, &rest[index..], depth - 1);
            } else {
                is_item = true;
                break;
            }
        }
        // A module without an item may as well be a local variable of that name.
        (is_item && self.files.contains_key(&here)).then_some(here)
    }

    fn imports_of(&self, path: &Path) -> BTreeSet<Path> {
        let uses = self.files[path].uses.iter();
        let found = uses.filter_map(|name| self.definition(path, name, 20));
        found.filter(|used| used != path).collect()
    }

    /// Gives each import that is part of a circle, as `user -> used`.
    pub(crate) fn circles(&self) -> Vec<String> {
        let paths = self.files.keys();
        let direct: BTreeMap<_, _> = paths.map(|path| (path, self.imports_of(path))).collect();
        let leads_to = |start: &Path, end: &Path| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
            while let Some(path) = next.pop() {
                let used = direct[path].iter();
                next.extend(used.filter(|used| seen.insert((*used).clone())));
            }
            seen.contains(end)
        };
        let edges = direct
            .iter()
            .flat_map(|(user, all)| all.iter().map(move |used| (*user, used)));
        edges
            .filter(|(user, used)| leads_to(used, user))
            .map(|(user, used)| format!("{} -> {}", user.join("::"), used.join("::")))
            .collect()
    }
}
