//! Limits on the command line, and how they are shown.

use ays_core::manifest::{LimitPolicy, Limits, Manifest, Unit};

use super::size;

/// Flags of the commands that need to know what jobs may use.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LimitFlags {
    /// What a job may use whose actor asks for nothing else, as memory_bytes=32MiB; again for each limit, or several
    /// with commas. docs/sandbox.md lists them
    #[arg(long = "limit", value_name = "NAME=AMOUNT", env = "AYS_LIMITS", value_delimiter = ',', value_parser = limit)]
    limits: Vec<(String, u64)>,
    /// The most that an actor can ask for, in the same way
    #[arg(long = "ceiling", value_name = "NAME=AMOUNT", env = "AYS_CEILINGS", value_delimiter = ',', value_parser = limit)]
    ceilings: Vec<(String, u64)>,
}

fn limit(text: &str) -> Result<(String, u64), String> {
    let known = || format!("the limits are {}", Limits::NAMES.join(", "));
    let (name, amount) = text
        .split_once('=')
        .ok_or_else(|| format!("NAME=AMOUNT would be right, as memory_bytes=32MiB; {}", known()))?;
    if !Limits::NAMES.contains(&name) {
        return Err(format!("there is no limit `{name}`; {}", known()));
    }
    Ok((name.to_owned(), size::parse(amount)?))
}

impl LimitFlags {
    /// What the operator allows.
    pub(super) fn policy(&self) -> anyhow::Result<LimitPolicy> {
        let mut policy = LimitPolicy::default();
        for (to, flags) in [(&mut policy.ceiling, &self.ceilings), (&mut policy.default, &self.limits)] {
            for (name, amount) in flags {
                if let Some(limit) = to.named(name) {
                    *limit = *amount;
                }
            }
        }
        for ((name, unit, default), (.., ceiling)) in policy.default.each().zip(policy.ceiling.each()) {
            let said = self.limits.iter().any(|(limit, _)| limit == name);
            anyhow::ensure!(
                !said || default <= ceiling,
                "--limit {name}={default} is above its ceiling, {}; `--ceiling {name}={default}` would allow it",
                unit.show(ceiling)
            );
        }
        Ok(policy)
    }
}

/// The limits of an actor's jobs, and those of actions that differ, a line for each: `limit  memory_bytes 64 MiB`.
pub(super) fn lines(manifest: &Manifest, policy: &LimitPolicy) -> Vec<String> {
    let of_actor = policy.of(manifest);
    let line = |what: String, unit: Unit, amount: u64| format!("limit         {what} {}", unit.show(amount));
    let mut lines: Vec<String> =
        of_actor.each().map(|(name, unit, amount)| line(name.to_owned(), unit, amount)).collect();
    for action in &manifest.actions {
        for ((name, unit, amount), (.., usual)) in
            policy.of_action(manifest, action).each().zip(of_actor.each())
        {
            if amount != usual {
                lines.push(line(format!("{}: {name}", action.name), unit, amount));
            }
        }
    }
    lines
}

/// What an actor and its actions ask for above the host's ceiling.
pub(super) fn above(manifest: &Manifest, policy: &LimitPolicy) -> Vec<String> {
    let asks = [("all actions", &manifest.limits)].into_iter();
    let asks = asks.chain(manifest.actions.iter().map(|action| (action.name.as_str(), &action.limits)));
    let mut lines = Vec::new();
    for (who, wanted) in asks {
        for (name, amount) in wanted.each() {
            let ceiling = policy.ceiling.each().find(|(of, _, most)| *of == name && amount > *most);
            if let Some((_, unit, most)) = ceiling {
                lines.push(format!(
                    "asks for `{name}` of {} for {who}, and gets the host's ceiling, {}; `--ceiling {name}={amount}` allows \
                     more",
                    unit.show(amount),
                    unit.show(most)
                ));
            }
        }
    }
    lines
}
