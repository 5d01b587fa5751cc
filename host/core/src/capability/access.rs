//! What an actor has, and whether a call is within it.

use std::{fmt, net::IpAddr};

use super::{
    AddressKind, Asked, Capabilities, Capability, EventPattern, Granted, HttpCall, HttpRule, address::inside,
    grants,
};
use crate::{ActorName, EventName, manifest::Manifest};

/// What an actor asks for, what it is granted, and what it is denied. A call must be asked for and granted, and must not
/// be denied.
#[derive(Clone, Debug)]
pub struct Access {
    actor: ActorName,
    asked: Asked,
    /// What its manifest subscribes to by itself.
    subscribes: Vec<EventName>,
    granted: Granted,
    denied: Capabilities,
}

/// Which addresses a name may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    private: bool,
}

impl Reach {
    pub(super) fn of(private: bool) -> Self {
        Self { private }
    }

    /// Whether a name may lead there.
    pub fn allows(self, address: IpAddr) -> bool {
        match AddressKind::of(address) {
            AddressKind::Public => true,
            AddressKind::Private | AddressKind::Loopback => self.private,
            AddressKind::LinkLocal
            | AddressKind::Metadata
            | AddressKind::Multicast
            | AddressKind::Reserved => false,
        }
    }
}

/// A call that is not within what an actor has. Its text names the capability, and the line that would grant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(Box<Needed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Needed {
    actor: ActorName,
    /// What would be needed.
    capability: Capability,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// The actor's manifest does not ask for it.
    NotAsked,
    /// It was not granted.
    NotGranted,
    /// It is denied, whatever is granted.
    Denied,
    /// The name leads to an address that it must not lead to.
    Address { name: String, address: IpAddr },
    /// It leads to the API of the host that the actor runs on.
    OwnHost { name: String },
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Needed { actor, capability, why } = &*self.0;
        let line = grants::line(actor, [capability]);
        match why {
            Why::NotAsked => write!(
                f,
                "denied: {actor} does not ask for `{capability}`; its manifest would have to name it under \
                 `capabilities`, and `grants:` would need {line}"
            ),
            Why::NotGranted => write!(
                f,
                "denied: {actor} is not granted `{capability}`; this line under `grants:`, in a blueprint or the \
                 host's grants file, would grant it: {line}"
            ),
            Why::Denied => write!(
                f,
                "denied: `{capability}` is under `deny:` in the host's grants file; to take that out for {actor} \
                 would be needed, and this line under `grants:`: {line}"
            ),
            Why::OwnHost { name } => write!(
                f,
                "denied: {name} is this host itself, whose API lets everybody do everything, and {actor} is granted no \
                 port there by its number; this line under `grants:` would grant it: {line}"
            ),
            Why::Address { name, address } => {
                let kind = AddressKind::of(*address).describe();
                let what = if *name == address.to_string() {
                    format!("{address} is {kind}")
                } else {
                    format!("{name} leads to {address}, {kind}")
                };
                write!(
                    f,
                    "denied: {what}, and {actor} is not granted `{capability}`; it would have to ask for it, and this \
                     line under `grants:` would grant it: {line}"
                )
            }
        }
    }
}

impl std::error::Error for Denied {}

impl Denied {
    /// What would be needed.
    pub fn capability(&self) -> &Capability {
        &self.0.capability
    }
}

impl Access {
    pub(super) fn new(manifest: &Manifest, granted: Granted, denied: Capabilities) -> Self {
        Self {
            actor: manifest.name.clone(),
            asked: manifest.capabilities.clone(),
            subscribes: manifest.filters.iter().map(|filter| filter.event.clone()).collect(),
            granted,
            denied,
        }
    }

    /// Whose it is.
    pub fn actor(&self) -> &ActorName {
        &self.actor
    }

    /// What it is granted.
    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    /// What it is denied, whatever it is granted.
    pub fn denied_to_it(&self) -> &Capabilities {
        &self.denied
    }

    /// What it asks for and is not granted. Empty where the operator said that there is nothing else for it; what is
    /// denied does not count as missing, since somebody decided that.
    pub fn missing(&self) -> Capabilities {
        if self.granted.nothing_else {
            return Capabilities::default();
        }
        let mut given = self.granted.capabilities.clone();
        if !given.say_emit() {
            given.add(Capability::Emit(EventPattern::any()));
        }
        if !given.say_listen() {
            given.add(Capability::Listen(EventPattern::any()));
        }
        given.extend(self.denied.iter().cloned());
        let own = self.subscribes.iter().map(|event| Capability::Listen(EventPattern::exactly(event)));
        let asked = self.asked.known.iter().cloned().chain(own);
        asked.filter_map(|asked| grants::uncovered(&asked, &given)).collect()
    }

    /// Whether it may make this request. The addresses that its name leads to are yet to be checked, each with
    /// [`address`](Self::address).
    ///
    /// # Errors
    /// What would be needed.
    pub fn http(&self, call: &HttpCall) -> Result<Reach, Denied> {
        let takes =
            |capability: &Capability| matches!(capability, Capability::Http(rule) if rule.takes(call));
        self.check(takes, || Capability::Http(call.rule()))?;
        let private = |capabilities: &Capabilities| {
            let mut rules = rules(capabilities, call);
            rules.any(HttpRule::is_private)
        };
        let reach = Reach::of(private(&self.asked.known) && private(&self.granted.capabilities));
        if let super::Host::Address(address) = call.host {
            self.address(call, reach, address)?;
        }
        Ok(reach)
    }

    /// Whether this request, which is allowed, may go to this address, to which its host leads.
    ///
    /// # Errors
    /// What would be needed.
    pub fn address(&self, call: &HttpCall, reach: Reach, address: IpAddr) -> Result<(), Denied> {
        // An address that grants name is what the operator wants; a name says nothing of where it leads.
        let named = call.host == super::Host::Address(address)
            && rules(&self.granted.capabilities, call).any(HttpRule::names_address);
        // What is denied is denied by whatever way of writing it.
        let written = [Some(address), Some(address.to_canonical()), inside(address).map(IpAddr::V4)];
        let denied = written.into_iter().flatten().any(|address| {
            let at_address = HttpCall { host: super::Host::Address(address), ..call.clone() };
            self.denied.iter().any(|capability| {
                matches!(capability, Capability::Http(rule) if rule.names_address() && rule.takes(&at_address))
            })
        });
        if denied {
            return Err(self.denied(Capability::Http(call.rule().at(address)), Why::Denied));
        }
        if named || reach.allows(address) {
            return Ok(());
        }
        let rule = if Reach::of(true).allows(address) && !matches!(call.host, super::Host::Address(_)) {
            call.rule().with_private()
        } else {
            call.rule().at(address)
        };
        Err(self.denied(Capability::Http(rule), Why::Address { name: call.host.to_string(), address }))
    }

    /// Whether this request, which is allowed, may go to the API of the host that the actor runs on: only if a grant names the
    /// port. A pattern for any port was hardly meant for it.
    ///
    /// # Errors
    /// What would be needed.
    pub fn own_host(&self, call: &HttpCall) -> Result<(), Denied> {
        if rules(&self.granted.capabilities, call).any(HttpRule::names_port) {
            return Ok(());
        }
        let rule = match call.host {
            super::Host::Name(_) => call.rule().with_private(),
            super::Host::Address(_) => call.rule(),
        };
        let name = format!("{}:{}", call.host, call.port);
        Err(self.denied(Capability::Http(rule), Why::OwnHost { name }))
    }

    /// Whether it may read this secret.
    ///
    /// # Errors
    /// What would be needed; also if the name is none.
    pub fn secret(&self, name: &super::SecretPattern) -> Result<(), Denied> {
        let wanted = Capability::Secret(name.clone());
        // Where secrets are variables, several names lead to one.
        let same = |capability: &Capability| matches!(capability, Capability::Secret(denied) if denied.covers_folded(name));
        if self.denied.iter().any(same) {
            return Err(self.denied(wanted, Why::Denied));
        }
        self.check(|capability| capability.covers(&wanted), || wanted.clone())
    }

    /// Whether it may keep key-value pairs.
    ///
    /// # Errors
    /// What would be needed.
    pub fn kv(&self) -> Result<(), Denied> {
        self.check(|capability| *capability == Capability::Kv, || Capability::Kv)
    }

    /// Whether it may emit this event.
    ///
    /// # Errors
    /// What would be needed.
    pub fn emit(&self, event: &EventName) -> Result<(), Denied> {
        let takes = |c: &Capability| matches!(c, Capability::Emit(pattern) if pattern.takes(event));
        let needed = || Capability::Emit(EventPattern::exactly(event));
        self.check_event(takes, needed, Capabilities::say_emit, false)
    }

    /// Whether it may subscribe to this event.
    ///
    /// # Errors
    /// What would be needed.
    pub fn listen(&self, event: &EventName) -> Result<(), Denied> {
        let takes = |c: &Capability| matches!(c, Capability::Listen(pattern) if pattern.takes(event));
        let needed = || Capability::Listen(EventPattern::exactly(event));
        self.check_event(takes, needed, Capabilities::say_listen, self.subscribes.contains(event))
    }

    fn check(
        &self,
        takes: impl Fn(&Capability) -> bool,
        needed: impl FnOnce() -> Capability,
    ) -> Result<(), Denied> {
        let asked = self.asked.known.iter().any(&takes);
        let granted = self.granted.capabilities.iter().any(&takes);
        self.decide(asked, granted, takes, needed)
    }

    fn check_event(
        &self,
        takes: impl Fn(&Capability) -> bool,
        needed: impl FnOnce() -> Capability,
        said: impl Fn(&Capabilities) -> bool,
        subscribes: bool,
    ) -> Result<(), Denied> {
        let asked = subscribes || !said(&self.asked.known) || self.asked.known.iter().any(&takes);
        let granted = &self.granted;
        let any = !granted.nothing_else && !said(&granted.capabilities);
        let granted = any || granted.capabilities.iter().any(&takes);
        self.decide(asked, granted, takes, needed)
    }

    fn decide(
        &self,
        asked: bool,
        granted: bool,
        takes: impl Fn(&Capability) -> bool,
        needed: impl FnOnce() -> Capability,
    ) -> Result<(), Denied> {
        let why = if self.denied.iter().any(takes) {
            Why::Denied
        } else if !asked {
            Why::NotAsked
        } else if !granted {
            Why::NotGranted
        } else {
            return Ok(());
        };
        Err(self.denied(needed(), why))
    }

    fn denied(&self, capability: Capability, why: Why) -> Denied {
        Denied(Box::new(Needed { actor: self.actor.clone(), capability, why }))
    }
}

fn rules<'c>(capabilities: &'c Capabilities, call: &'c HttpCall) -> impl Iterator<Item = &'c HttpRule> {
    capabilities.iter().filter_map(move |capability| match capability {
        Capability::Http(rule) if rule.takes(call) => Some(rule),
        _ => None,
    })
}
