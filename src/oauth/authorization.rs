//! The authorization code grant (RFC 6749 section 4.1) with PKCE (RFC 7636) and state, up to the code.
//!
//! Bitbucket also requires the client secret, and may not check the verifier. The helper always sends state and
//! verifier, because each of them alone stops a code that an attacker injects into the callback.
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL};
use ring::{
    digest,
    rand::{SecureRandom as _, SystemRandom},
};

use crate::{failure::quote, secret::Secret, url::Url};

/// The random bytes in state and verifier. 32 bytes give the 43 characters that RFC 7636 section 4.1 requires.
const RANDOM_BYTES: usize = 32;
/// The shortest code. An attacker could guess a shorter one (RFC 6749 section 10.10), so it is a typing error.
const SHORTEST_CODE: usize = 10;

/// A request for the user's consent, with the values that the callback must match.
#[derive(Debug)]
pub(crate) struct Authorization {
    /// The page to open in a browser.
    pub(crate) url: Url,
    /// The requested callback, which the token request must repeat exactly.
    pub(super) redirect_uri: Option<String>,
    pub(super) verifier: Secret,
    state: Secret,
}

/// The meaning of a callback.
#[derive(Debug)]
pub(crate) enum Callback {
    /// The user agreed: the code to exchange.
    Code(Secret),
    /// The user or Bitbucket refused (RFC 6749 section 4.1.2.1).
    Denied(String),
    /// The callback does not belong to this request, so its content is ignored.
    Foreign,
}

impl Authorization {
    /// Prepares a request for a client and scopes. Without `redirect_uri`, Bitbucket uses the registered callback;
    /// without `scope`, the client's own scopes.
    ///
    /// # Errors
    ///
    /// If the system provides no random bytes.
    pub(crate) fn new(
        authorize_url: &Url,
        client_id: &str,
        redirect_uri: Option<&str>,
        scope: Option<&str>,
    ) -> anyhow::Result<Self> {
        let (state, verifier) = (random()?, random()?);
        let challenge = digest::digest(&digest::SHA256, verifier.expose().as_bytes());
        let mut url = authorize_url.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("state", state.expose())
            .append_pair("code_challenge", &BASE64_URL.encode(challenge))
            .append_pair("code_challenge_method", "S256");
        let optional = [("redirect_uri", redirect_uri), ("scope", scope)];
        for (name, value) in optional {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        Ok(Authorization {
            url,
            redirect_uri: redirect_uri.map(str::to_owned),
            verifier,
            state,
        })
    }

    /// Tells whether the callback's issuer may be the authorization server (RFC 9207 section 2.4).
    ///
    /// The issuer's identifier is not configured, so this compares the origin. Another server cannot claim this origin.
    fn is_issuer(&self, named: &str) -> bool {
        let issuer = Url::parse(named).ok();
        issuer.is_some_and(|issuer| {
            issuer.origin() == self.url.origin()
                && issuer.username().is_empty()
                && issuer.password().is_none()
                && issuer.query().is_none()
                && issuer.fragment().is_none()
        })
    }

    /// Reads the query of a callback. It compares the state before it reads anything else.
    pub(crate) fn read(&self, query: &str) -> Callback {
        let Ok(url) = Url::parse(&format!("http://127.0.0.1/?{query}")) else {
            return Callback::Foreign;
        };
        let value = |name: &str| {
            let mut values = url
                .query_pairs()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned());
            // A parameter must not be repeated (RFC 6749 section 3.1).
            values.next().filter(|_| values.next().is_none())
        };
        if value("state").map(Secret::new).as_ref() != Some(&self.state) {
            return Callback::Foreign;
        }
        if url.query_pairs().any(|(key, _)| key == "iss") {
            let named = value("iss").unwrap_or_default();
            if !self.is_issuer(&named) {
                return Callback::Denied(format!(
                    "the response names issuer '{}', but the request went to '{}'",
                    quote(&named),
                    self.url.origin().ascii_serialization()
                ));
            }
        }
        match (value("error"), value("code")) {
            (Some(error), _) => {
                let description = value("error_description").unwrap_or_default();
                let separator = if description.is_empty() { "" } else { ": " };
                Callback::Denied(quote(&format!("{error}{separator}{description}")))
            }
            (None, Some(code)) if !code.is_empty() => Callback::Code(Secret::new(code)),
            (None, _) => Callback::Foreign,
        }
    }
}

/// Reads a code alone, as a user copies it from the address bar; `None` for anything else.
///
/// A code alone has no state. So only the terminal that printed the page accepts it, and never the listener: the user
/// who types there means this login. The exchange refuses a code of another login if the server checks the PKCE
/// verifier (RFC 7636 section 4.6).
pub(crate) fn bare_code(pasted: &str) -> Option<Secret> {
    // The characters that need no escape in a query (RFC 3986 section 2.3).
    let is_code = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let code = pasted.trim();
    (code.len() >= SHORTEST_CODE && code.chars().all(is_code)).then(|| Secret::new(code))
}

/// Makes 256 random bits, as text.
pub(crate) fn random() -> anyhow::Result<Secret> {
    let mut bytes = [0; RANDOM_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    Ok(Secret::new(BASE64_URL.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorization() -> Authorization {
        let url = Url::parse("https://bitbucket.org/site/oauth2/authorize").expect("it is a URL");
        let redirect_uri = "http://127.0.0.1:7777/callback";
        Authorization::new(&url, "a client", Some(redirect_uri), None).expect("there is chance")
    }

    #[test]
    fn the_request_carries_state_and_challenge_but_no_verifier() {
        let (one, other) = (authorization(), authorization());
        let query = one.url.query().unwrap_or("");
        for part in [
            "response_type=code",
            "client_id=a+client",
            "code_challenge_method=S256",
            "redirect_uri=http%3A%2F%2F127.0.0.1%3A7777%2Fcallback",
        ] {
            assert!(query.contains(part), "{part} in {query}");
        }
        assert!(
            !query.contains(one.verifier.expose()),
            "the verifier is shown to the token endpoint only"
        );
        assert_eq!(one.verifier.expose().len(), 43);
        assert_ne!(one.verifier, other.verifier);
        assert_ne!(one.state, other.state);
    }

    #[test]
    fn a_code_alone_is_recognized() {
        let read = |pasted: &str| bare_code(pasted).map(|code| code.expose().to_owned());
        assert_eq!(
            read(" Ab3dE5gH7jK9mN1pQr\r\n").as_deref(),
            Some("Ab3dE5gH7jK9mN1pQr")
        );
        for pasted in [
            "",
            "y",
            "yes please, I agree",
            "code=Ab3dE5gH7jK9mN1pQr",
            "http://127.0.0.1/callback?code=Ab3dE5gH7jK9mN1pQr",
            "127.0.0.1/callback",
        ] {
            assert_eq!(read(pasted), None, "{pasted}");
        }
    }

    #[test]
    fn a_callback_with_a_wrong_state_is_ignored() {
        let authorization = authorization();
        let state = authorization.state.expose();
        for query in [
            "",
            "code=x",
            "error=access_denied",
            "code=x&state=y",
            "error=access_denied&state=",
            &format!("code=x&state={state}&state={state}"),
            &format!("state={state}"),
            &format!("code=&state={state}"),
        ] {
            assert!(
                matches!(authorization.read(query), Callback::Foreign),
                "{query}"
            );
        }
        assert!(
            matches!(authorization.read(&format!("code=a%2Bb&state={state}")), Callback::Code(code) if code.expose() == "a+b")
        );
        assert!(
            matches!(authorization.read(&format!("error=access_denied&error_description=no%1b&state={state}")), Callback::Denied(why) if why == "access_denied: no\\u{1b}")
        );
    }

    #[test]
    fn a_callback_of_another_issuer_is_refused() {
        let authorization = authorization();
        let state = authorization.state.expose();
        for issuer in [
            "https://bitbucket.org",
            "https://bitbucket.org/",
            "https://BITBUCKET.org:443/site",
        ] {
            let query = format!("code=abc&state={state}&iss={issuer}");
            assert!(
                matches!(authorization.read(&query), Callback::Code(_)),
                "{issuer}"
            );
        }
        for issuer in [
            "",
            "bitbucket.org",
            "https://evil.example",
            "https://bitbucket.org.evil.example",
            "https://bitbucket.org@evil.example",
            "https://ann@bitbucket.org",
            "http://bitbucket.org",
            "https://bitbucket.org:444",
            "https://bitbucket.org?x",
            "https://bitbucket.org&iss=https://bitbucket.org",
        ] {
            for answer in ["code=abc", "error=access_denied"] {
                let query = format!("{answer}&state={state}&iss={issuer}");
                let Callback::Denied(why) = authorization.read(&query) else {
                    panic!("{query} is believed");
                };
                assert!(why.starts_with("the response names issuer '"), "{why}");
            }
        }
        let foreign = authorization.read("code=abc&state=other&iss=https://bitbucket.org");
        assert!(matches!(foreign, Callback::Foreign), "state comes first");
    }

    #[test]
    fn the_query_of_the_authorize_endpoint_is_kept() {
        let url = Url::parse("https://server/authorize?tenant=a%20b").expect("it is a URL");
        let authorization =
            Authorization::new(&url, "client", None, None).expect("there is chance");
        let query = authorization.url.query().unwrap_or("");
        assert!(
            query.starts_with("tenant=a%20b&response_type=code&"),
            "{query}"
        );
    }
}
