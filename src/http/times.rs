//! Parses the times in a response's headers.

use std::time::{Duration, UNIX_EPOCH};

use super::interface::Response;

impl Response {
    /// Reads `Date`, the time of the server's clock (RFC 9110 section 6.6.1).
    pub(crate) fn date_unix_s(&self) -> Option<u64> {
        let date = httpdate::parse_http_date(self.header("date")?.trim()).ok()?;
        Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    /// Reads `Retry-After` as seconds or as a date (RFC 9110 section 10.2.3).
    ///
    /// A date is compared with the server's own `Date` header, because the local clock may be wrong.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number that overflows must not mean an immediate retry.
            return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
        }
        let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
        let (then, now) = (date(value)?, date(self.header("date")?)?);
        Some(then.duration_since(now).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    use crate::http::{ResponseBody, TransportError};

    struct NoBody;

    impl ResponseBody for NoBody {
        fn next_chunk(&mut self) -> Result<Option<bytes::Bytes>, TransportError> {
            Ok(None)
        }
    }

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    /// Gives the seconds to wait for a header value.
    fn seconds(value: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", value.parse().ok()?);
        headers.insert("date", NOW.parse().expect("it is one"));
        let response = Response::new(503, headers, Box::new(NoBody));
        response.retry_after().map(|span| span.as_secs())
    }

    #[test]
    fn seconds_are_digits_and_cannot_overflow() {
        let cases = [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("+5", None),
            ("-5", None),
            ("5.5", None),
            ("5 s", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(seconds(value), expected, "{value}");
        }
        assert_eq!(cases.len(), 11);
    }

    #[test]
    fn all_three_date_formats_are_read() {
        for date in [
            "Sun, 06 Nov 1994 08:51:37 GMT",
            "Sunday, 06-Nov-94 08:51:37 GMT",
            "Sun Nov  6 08:51:37 1994",
        ] {
            assert_eq!(seconds(date), Some(120), "{date}");
        }
        assert_eq!(
            seconds("Sun, 06 Nov 1994 08:00:00 GMT"),
            Some(0),
            "it is over"
        );
    }

    #[test]
    fn any_retry_after_value_is_read_as_other_parsers_read_it_or_ignored() {
        let kept = [
            NOW,
            "120",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Sunday, 06-Nov-94 08:51:37 GMT",
            "Sun Nov  6 08:51:37 1994",
            "Thu, 29 Feb 2024 23:59:60 GMT",
        ];
        let dates = std::cell::Cell::new(0);
        crate::inside::fuzz::check_text(&kept, |text| {
            let value = text.trim();
            if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return;
            }
            let Some(found) = seconds(text) else {
                let is_number = !value.is_empty() && value.bytes().all(|it| it.is_ascii_digit());
                assert!(!is_number, "a number of seconds was not read");
                return;
            };
            if value.bytes().all(|it| it.is_ascii_digit()) {
                assert_eq!(found, value.parse().unwrap_or(u64::MAX));
                return;
            }
            // Git's parser knows only one of the three formats (RFC 9110 section 5.6.7, IMF-fixdate).
            let others = |date| Some(gix::date::parse(date, None).ok()?.seconds);
            if let Some(then) = others(value).filter(|_| value.get(3..4) == Some(",")) {
                let now = others(NOW).expect("it is a date");
                assert_eq!(found, u64::try_from(then - now).unwrap_or(0));
                dates.set(dates.get() + 1);
            }
        });
        assert!(dates.get() > 0, "dates were compared");
    }
}
