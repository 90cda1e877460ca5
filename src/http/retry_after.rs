//! When a server wants to be asked again.

use std::time::Duration;

use super::Response;

impl Response {
    /// Reads `Retry-After`, seconds or a date (RFC 9110 section 10.2.3). The date is the server's, and so is what it is
    /// compared with: our clock may be wrong.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
        let (then, now) = (date(value)?, date(self.header("date")?)?);
        Some(then.duration_since(now).unwrap_or_default())
    }
}
