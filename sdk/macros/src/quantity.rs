//! Values in attributes: durations, sizes and counts, with their units.

use std::str::FromStr;

use syn::{Expr, ExprLit, Lit, LitBool, LitInt, LitStr, meta::ParseNestedMeta};

/// A value of an attribute. Other literals than the wanted one get an error that says what would be right.
fn literal(meta: &ParseNestedMeta<'_>, wanted: &str) -> syn::Result<Lit> {
    match meta.value()?.parse::<Expr>()? {
        Expr::Lit(ExprLit { lit, .. }) => Ok(lit),
        other => Err(syn::Error::new_spanned(other, format!("{wanted} would be right"))),
    }
}

/// A text.
pub(crate) fn text(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    match literal(meta, "a text in quotes")? {
        Lit::Str(text) => Ok(text),
        other => Err(syn::Error::new(other.span(), "a text in quotes would be right")),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(meta: &ParseNestedMeta<'_>) -> syn::Result<bool> {
    match literal(meta, "`true` or `false`")? {
        Lit::Bool(LitBool { value, .. }) => Ok(value),
        other => Err(syn::Error::new(other.span(), "`true` or `false` would be right")),
    }
}

/// A text that one of the model's types reads, and where it stands.
pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(meta: &ParseNestedMeta<'_>) -> syn::Result<T> {
    let text = text(meta)?;
    text.value().parse().map_err(|error| syn::Error::new(text.span(), error))
}

/// One of a few words.
pub(crate) fn word<T: Copy>(meta: &ParseNestedMeta<'_>, words: &[(&str, T)]) -> syn::Result<T> {
    let names = words.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
    let lit = literal(meta, &names)?;
    if let Lit::Str(text) = &lit
        && let Some((_, value)) = words.iter().find(|(name, _)| *name == text.value())
    {
        return Ok(*value);
    }
    Err(syn::Error::new(lit.span(), format!("{names} would be right")))
}

/// A count, at least 1.
pub(crate) fn count<N: FromStr<Err: std::fmt::Display> + Into<u64> + Copy>(
    meta: &ParseNestedMeta<'_>,
) -> syn::Result<N> {
    const WANTED: &str = "a whole number from 1";
    match literal(meta, WANTED)? {
        Lit::Int(number) => match number.base10_parse::<N>() {
            Ok(count) if count.into() > 0 => Ok(count),
            _ => Err(syn::Error::new(
                number.span(),
                format!("`{number}` is no count; {WANTED} would be right"),
            )),
        },
        other => Err(syn::Error::new(other.span(), format!("{WANTED} would be right"))),
    }
}

/// A duration of at least 1 ms, in milliseconds: `"250ms"`, `"30s"`, `"5m"`, `"2h"`, or a bare number of seconds.
pub(crate) fn duration_ms(meta: &ParseNestedMeta<'_>) -> syn::Result<u64> {
    measure(&literal(meta, DURATION.wanted)?, &DURATION)
}

/// A size of at least 1 byte, in bytes: `"64MiB"`, `"512KiB"`, `"1GiB"`, or a bare number of bytes.
pub(crate) fn bytes(meta: &ParseNestedMeta<'_>) -> syn::Result<u64> {
    measure(&literal(meta, SIZE.wanted)?, &SIZE)
}

/// A list of durations in whole seconds: `[10, "5m"]`.
pub(crate) fn durations_s(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<u64>> {
    const WANTED: &str = "a list of delays in seconds, as `[10, 30, \"5m\"]`, would be right";
    let list = match meta.value()?.parse::<Expr>()? {
        Expr::Array(list) if !list.elems.is_empty() => list.elems,
        other => return Err(syn::Error::new_spanned(other, WANTED)),
    };
    list.iter()
        .map(|delay| match delay {
            Expr::Lit(ExprLit { lit, .. }) => match measure(lit, &DURATION)? {
                ms if ms % 1000 == 0 => Ok(ms / 1000),
                _ => Err(syn::Error::new(
                    lit.span(),
                    "a delay is no fraction of a second; whole seconds would be right",
                )),
            },
            other => Err(syn::Error::new_spanned(other, WANTED)),
        })
        .collect()
}

/// A list of texts: `["a", "b"]`.
pub(crate) fn texts(meta: &ParseNestedMeta<'_>) -> syn::Result<Vec<LitStr>> {
    const WANTED: &str = "a list of texts, as `[\"a\", \"b\"]`, would be right";
    let list = match meta.value()?.parse::<Expr>()? {
        Expr::Array(list) => list.elems,
        other => return Err(syn::Error::new_spanned(other, WANTED)),
    };
    list.iter()
        .map(|item| match item {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
            other => Err(syn::Error::new_spanned(other, WANTED)),
        })
        .collect()
}

/// What is measured: its units, the one of a bare number first.
struct Measure {
    units: &'static [(&'static str, u64)],
    wanted: &'static str,
}

const DURATION: Measure = Measure {
    units: &[("s", 1000), ("ms", 1), ("m", 60_000), ("h", 3_600_000)],
    wanted: "a duration above 0 with a unit ms, s, m or h, as \"30s\"",
};

const SIZE: Measure = Measure {
    units: &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
    wanted: "a size above 0 with a unit B, KiB, MiB or GiB, as \"64MiB\"",
};

fn measure(lit: &Lit, measure: &Measure) -> syn::Result<u64> {
    let text = match lit {
        Lit::Str(text) => text.value(),
        Lit::Int(number) => LitInt::base10_digits(number).to_owned(),
        other => return Err(syn::Error::new(other.span(), format!("{}, would be right", measure.wanted))),
    };
    let wrong = || syn::Error::new(lit.span(), format!("`{text}` is not {}, is", measure.wanted));
    parse(&text, measure).ok_or_else(wrong)
}

fn parse(text: &str, measure: &Measure) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim_start();
    let (_, factor) = match unit {
        "" => measure.units.first()?,
        _ => measure.units.iter().find(|(name, _)| *name == unit)?,
    };
    number.parse::<u64>().ok()?.checked_mul(*factor).filter(|value| *value > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units_and_are_never_zero() {
        for (text, ms) in [
            ("250ms", Some(250)),
            ("30", Some(30_000)),
            ("5 m", Some(300_000)),
            ("0s", None),
            ("s", None),
            ("1x", None),
        ] {
            assert_eq!(parse(text, &DURATION), ms, "{text}");
        }
        for (text, bytes) in
            [("64MiB", Some(64 << 20)), ("512", Some(512)), ("1MB", None), ("99999999999GiB", None)]
        {
            assert_eq!(parse(text, &SIZE), bytes, "{text}");
        }
    }
}
