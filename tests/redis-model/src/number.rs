//! Numbers as Redis reads and writes them.

use std::fmt::Write;

/// Reads an integer as strictly as Redis does: no plus, no leading zero, no blanks.
pub(crate) fn int(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let strict = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if strict { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Reads a score: what `strtod` takes, but not NaN, no leading blank, and nothing out of a double's range.
pub(crate) fn float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    let named = text.bytes().any(|b| b.eq_ignore_ascii_case(&b'n'));
    let out_of_range = (value.is_infinite() && !named)
        || (value == 0.0
            && text.bytes().take_while(|b| !b"eE".contains(b)).any(|b| (b'1'..=b'9').contains(&b)));
    if value.is_nan() || out_of_range { None } else { Some(value) }
}

/// Reads a bound of a range of scores. Unlike a score it may be empty, begin with blanks and be out of range, since
/// Redis asks `strtod` alone.
pub(crate) fn bound(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let blank = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
    if text.is_empty() {
        return Some(0.0);
    }
    text.trim_start_matches(blank).parse().ok().filter(|value: &f64| !value.is_nan())
}

/// Writes a double as C's `%.17g` does, which is how Redis 7.0 writes scores and numbers from scripts.
pub(crate) fn write_double(out: &mut Vec<u8>, value: f64) {
    const PRECISION: i32 = 17;
    if value == value.trunc() && value.abs() < 1e17 && !(value == 0.0 && value.is_sign_negative()) {
        write_int(out, value as i64);
        return;
    }
    if !value.is_finite() {
        let name: &[u8] = match (value.is_nan(), value.is_sign_negative()) {
            (true, false) => b"nan",
            (true, true) => b"-nan",
            (false, false) => b"inf",
            (false, true) => b"-inf",
        };
        out.extend_from_slice(name);
        return;
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("Rust writes an exponent with {:e}");
    let exponent: i32 = exponent.parse().expect("Rust writes a number after the e");
    let text = if (-4..PRECISION).contains(&exponent) {
        let decimals =
            usize::try_from(PRECISION - 1 - exponent).expect("the exponent is below the precision");
        without_trailing_zeros(&format!("{value:.decimals$}")).to_owned()
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.abs())
    };
    out.extend_from_slice(text.as_bytes());
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Writes an integer in decimal.
pub(crate) fn write_int(out: &mut Vec<u8>, value: i64) {
    struct Bytes<'a>(&'a mut Vec<u8>);
    impl Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    write!(Bytes(out), "{value}").expect("a vector takes every byte");
}

/// A double as a reply writes it.
pub(crate) fn double(value: f64) -> Vec<u8> {
    let mut text = Vec::new();
    write_double(&mut text, value);
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn doubles_are_written_as_c_does() {
        for (value, text) in [
            (3.0, "3"),
            (-0.0, "-0"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(String::from_utf8(super::double(value)).unwrap(), text);
        }
    }
}
