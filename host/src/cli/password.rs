//! Passwords of secret keys: from the environment, where nobody can be asked, or from the terminal.

use anyhow::{Context as _, ensure};

/// The variable that holds one.
const VARIABLE: &str = "AYS_KEY_PASSWORD";

/// A password for a new key.
pub(super) fn new() -> anyhow::Result<String> {
    let password = match given()? {
        Some(password) => password,
        None => {
            let password = ask("Password for the new key: ")?;
            ensure!(ask("The same again: ")? == password, "the passwords differ");
            password
        }
    };
    ensure!(
        !password.is_empty(),
        "an empty password protects nothing; `--no-password` makes a key without one"
    );
    Ok(password)
}

/// The password of a key that is there.
pub(super) fn known(key: &str) -> anyhow::Result<String> {
    match given()? {
        Some(password) => Ok(password),
        None => ask(&format!("Password of {key}: ")),
    }
}

fn given() -> anyhow::Result<Option<String>> {
    match std::env::var(VARIABLE) {
        Ok(password) => Ok(Some(password)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(_) => anyhow::bail!("{VARIABLE} is not UTF-8"),
    }
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(prompt)
        .with_context(|| format!("there is no terminal to ask for the password; {VARIABLE} can hold it"))
}
