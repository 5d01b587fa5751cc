//! Patterns of `KEYS` and `SCAN`.

/// Whether a text matches a pattern with `*`, `?`, `[a-z]`, `[^a]` and `\`, as Redis matches them.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        b'*' => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        b'?' => !text.is_empty() && matches(rest, &text[1..]),
        b'[' => match text.split_first() {
            Some((&byte, text)) => {
                let (is_in, rest) = class(rest, byte);
                is_in && matches(rest, text)
            }
            None => false,
        },
        b'\\' if !rest.is_empty() => text.first() == rest.first() && matches(&rest[1..], &text[1..]),
        _ => text.first() == Some(&first) && matches(rest, &text[1..]),
    }
}

/// Whether a byte is of the class that begins here, after its bracket; and the pattern after the class.
fn class(mut pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut found = false;
    loop {
        pattern = match pattern {
            [b'\\', escaped, rest @ ..] => {
                found |= *escaped == byte;
                rest
            }
            [b']', rest @ ..] => break (found != negated, rest),
            [] => break (found != negated, pattern),
            [low, b'-', high, rest @ ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == byte;
                rest
            }
        };
    }
}
