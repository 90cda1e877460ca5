//! Colors and symbols, if the terminal shows them and the user wants them (<https://no-color.org>,
//! <https://bixense.com/clicolors>).

use std::ffi::OsString;

use clap::{ColorChoice, builder::styling::AnsiColor};

use crate::report;

/// What standard output can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    has_symbols: bool,
    has_color: bool,
}

impl Style {
    /// Words without color.
    pub(super) const PLAIN: Self = Style {
        has_symbols: false,
        has_color: false,
    };

    /// Decides by the option `--color`, the terminal and the environment.
    pub(super) fn of(
        choice: ColorChoice,
        is_terminal: bool,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        let text = |name: &str| {
            let value = variable(name)?.to_string_lossy().into_owned();
            Some(value).filter(|value| !value.is_empty())
        };
        let is_capable = is_terminal && report::can_move(variable("TERM").as_deref());
        let is_forced = text("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let is_off = text("CLICOLOR").is_some_and(|value| value == "0");
        let by_environment = text("NO_COLOR").is_none() && (is_forced || is_capable && !is_off);
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(text);
        let is_unicode = locale.map_or(cfg!(windows), |locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Style {
            has_symbols: is_capable && is_unicode,
            has_color: match choice {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => by_environment,
            },
        }
    }

    /// Gives the mark of something that works, or does not.
    pub(super) fn mark(self, is_good: bool) -> &'static str {
        match (self.has_symbols, is_good) {
            (true, true) => "\u{2713}",
            (true, false) => "\u{2717}",
            (false, true) => "ok",
            (false, false) => "--",
        }
    }

    /// Colors a mark of `status` or `doctor`.
    pub(super) fn colored(self, mark: &str) -> String {
        let color = match mark {
            "\u{2713}" | "ok" => AnsiColor::Green,
            "\u{2717}" | "--" | "problem" => AnsiColor::Red,
            "note" => AnsiColor::Yellow,
            _ => return mark.to_owned(),
        };
        let color = color.on_default();
        match self.has_color {
            true => format!("{color}{mark}{color:#}"),
            false => mark.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_and_symbols_follow_the_option_the_environment_and_the_terminal() {
        use ColorChoice::{Always, Auto, Never};
        const UTF8: (&str, &str) = ("LANG", "en_US.UTF-8");
        const XTERM: (&str, &str) = ("TERM", "xterm");
        const DUMB: (&str, &str) = ("TERM", "dumb");
        type Case<'c> = (ColorChoice, bool, &'c [(&'c str, &'c str)], bool, bool);
        let cases: [Case<'_>; 14] = [
            (Auto, true, &[XTERM, UTF8], true, true),
            (Auto, true, &[XTERM, ("LANG", "C")], false, true),
            (Auto, true, &[XTERM, UTF8, ("LC_ALL", "C")], false, true),
            (Auto, true, &[XTERM, UTF8, ("LC_ALL", "")], true, true),
            (Auto, true, &[DUMB, UTF8], false, false),
            (Auto, false, &[XTERM, UTF8], false, false),
            (Auto, true, &[XTERM, UTF8, ("NO_COLOR", "0")], true, false),
            (Auto, true, &[XTERM, UTF8, ("NO_COLOR", "")], true, true),
            (Auto, true, &[XTERM, UTF8, ("CLICOLOR", "0")], true, false),
            (Auto, false, &[("CLICOLOR_FORCE", "1")], false, true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")], false, false),
            (
                Auto,
                false,
                &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
                false,
                false,
            ),
            (Always, false, &[("NO_COLOR", "1")], false, true),
            (Never, true, &[XTERM, UTF8], true, false),
        ];
        for (choice, is_terminal, environment, has_symbols, has_color) in cases {
            let variable = |name: &str| {
                let found = environment.iter().rev().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let expected = Style {
                has_symbols,
                has_color,
            };
            let style = Style::of(choice, is_terminal, &variable);
            assert_eq!(style, expected, "{choice}, {is_terminal}, {environment:?}");
        }
    }
}
