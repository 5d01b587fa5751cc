//! Where secrets come from: what `--secrets` takes.

use std::{
    env,
    io::ErrorKind,
    path::{Path, PathBuf},
    str::FromStr,
};

use ays_engine::Secrets;

use crate::regular_file;

/// The greatest secret, and the greatest file of secrets, in bytes. Kubernetes has the same limit.
const MOST_BYTES: u64 = 1 << 20;

/// One place where secrets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the host's environment, `env:PREFIX`: the secret `api-key` is the variable `PREFIXAPI_KEY`.
    Environment(String),
    /// In a file of lines `name=value`, `file:PATH`.
    File(PathBuf),
    /// In a folder with one file for each, as Kubernetes and Docker mount them, `dir:PATH`.
    Folder(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("env", prefix)) if !prefix.is_empty() => Ok(Self::Environment(prefix.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Folder(path.into())),
            _ => Err("env:PREFIX, file:PATH or dir:PATH would be right, as env:AYS_SECRET_".into()),
        }
    }
}

impl Source {
    /// The secret's value; none if it is not there.
    fn get(&self, name: &str) -> Result<Option<String>, String> {
        match self {
            Self::Environment(prefix) => match env::var(variable(prefix, name)) {
                Ok(value) => Ok(Some(value)),
                Err(env::VarError::NotPresent) => Ok(None),
                Err(env::VarError::NotUnicode(_)) => {
                    Err(format!("the variable {} is not UTF-8", variable(prefix, name)))
                }
            },
            Self::File(path) => {
                let text = read(path)?.ok_or_else(|| format!("there is no file {}", path.display()))?;
                Ok(text.lines().find_map(|line| value(line, name)).map(str::to_owned))
            }
            Self::Folder(path) => Ok(read(&path.join(name))?.map(|text| {
                // As editors and `echo` end a file; a secret whose own end is a line's is rare.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                text.strip_suffix('\r').unwrap_or(text).to_owned()
            })),
        }
    }

    fn place(&self, name: &str) -> String {
        match self {
            Self::Environment(prefix) => format!("the variable {}", variable(prefix, name)),
            Self::File(path) => format!("a line `{name}=…` in {}", path.display()),
            Self::Folder(path) => format!("the file {}", path.join(name).display()),
        }
    }
}

fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_ascii_uppercase().replace(['-', '.'], "_"))
}

/// The value, if the line is this secret's.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once('=')?;
    (key.trim() == name && !key.starts_with('#')).then_some(value)
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let bytes = match regular_file::read(path, MOST_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(format!("it has more than {MOST_BYTES} bytes")));
    }
    // The error would show bytes of the secret.
    String::from_utf8(bytes).map(Some).map_err(|_| wrong("it is not UTF-8".into()))
}

/// The places where a host looks for secrets, in this order. They are read anew each time, so that a secret that was
/// replaced takes effect.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub Vec<Source>);

impl Secrets for Sources {
    fn get(&self, name: &str) -> Result<Option<String>, String> {
        for source in &self.0 {
            if let Some(value) = source.get(name)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn places(&self, name: &str) -> String {
        if self.0.is_empty() {
            return "the host has no place for secrets: `serve --secrets` names one".into();
        }
        let places: Vec<String> = self.0.iter().map(|source| source.place(name)).collect();
        format!("it would be {}", places.join(", or "))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_is_found_where_it_is_first() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("api_key"), "from the folder\n").unwrap();
        fs::write(folder.path().join("latin"), [0xe4]).unwrap();
        fs::create_dir(folder.path().join("nested")).unwrap();
        let lines = folder.path().join("lines");
        fs::write(&lines, "# api_key=no\napi_key=from=the file \nother = x\n").unwrap();
        let sources = |texts: &[String]| Sources(texts.iter().map(|text| text.parse().unwrap()).collect());
        let dir = format!("dir:{}", folder.path().display());
        let file = format!("file:{}", lines.display());
        let get = |texts: &[String], name: &str| sources(texts).get(name);
        assert_eq!(get(&[dir.clone(), file.clone()], "api_key").unwrap().unwrap(), "from the folder");
        assert_eq!(get(&[file.clone(), dir.clone()], "api_key").unwrap().unwrap(), "from=the file ");
        assert_eq!(get(&[file, dir.clone()], "other").unwrap().unwrap(), " x");
        assert_eq!(get(&["env:CARGO_".into()], "pkg-name").unwrap().unwrap(), "ays-host");
        assert_eq!(get(std::slice::from_ref(&dir), "missing").unwrap(), None);
        for (name, told) in [("latin", "not UTF-8"), ("nested", "no file")] {
            let error = get(std::slice::from_ref(&dir), name).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let places = sources(&[dir, "env:X_".into()]).places("a.b");
        assert!(places.contains("/a.b, or the variable X_A_B"), "{places}");
    }
}
