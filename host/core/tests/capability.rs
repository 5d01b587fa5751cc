//! What actors ask for, are granted, and may do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test may

use std::net::IpAddr;

use ays_core::{
    EventName,
    capability::{Access, AddressKind, Capabilities, Capability, Grants, Host, HttpCall, HttpRule, Scheme},
    manifest::Manifest,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn manifest(capabilities: Value) -> Manifest {
    let manifest = json!({
        "interface": "ays:actor@0.1.0",
        "name": "weather",
        "actions": [{"name": "on_ping"}],
        "filters": [{"event": "ping", "action": "on_ping"}],
        "capabilities": capabilities,
    });
    serde_json::from_value(manifest).unwrap()
}

fn grants(grants: Value) -> Grants {
    serde_json::from_value(grants).unwrap()
}

fn access(asked: Value, given: Value) -> Access {
    grants(given).access(&manifest(asked))
}

/// A request as `GET https://example.com:8443`.
fn call(text: &str) -> HttpCall {
    let (method, url) = text.split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let scheme: Scheme = scheme.parse().unwrap();
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap()),
        _ => (rest, scheme.port()),
    };
    HttpCall { method: method.into(), scheme, host: Host::read(host).unwrap(), port }
}

fn rule(text: &str) -> HttpRule {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn a_rule_takes_the_requests_that_it_says_and_no_other() {
    let table = [
        ("https://api.example.com", "GET https://api.example.com", true),
        ("https://api.example.com", "DELETE https://API.example.COM.", true),
        ("https://api.example.com", "GET http://api.example.com:443", false),
        ("https://api.example.com", "GET https://api.example.com:8443", false),
        ("https://api.example.com", "GET https://evil-api.example.com", false),
        ("https://api.example.com", "GET https://api.example.com.evil.org", false),
        ("https://api.example.com:*", "GET https://api.example.com:8443", true),
        ("get,POST https://api.example.com", "POST https://api.example.com", true),
        ("GET,POST https://api.example.com", "PUT https://api.example.com", false),
        ("GET https://api.example.com", "get https://api.example.com", false),
        ("https://*.example.com", "GET https://a.b.example.com", true),
        ("https://*.example.com", "GET https://example.com", false),
        ("https://*.example.com", "GET https://evilexample.com", false),
        ("https://*.example.com", "GET https://10.0.0.1", false),
        ("http://*", "GET http://anything.at.all", true),
        ("http://[::1]:80", "GET http://[0:0:0:0:0:0:0:1]", true),
    ];
    for (text, request, expected) in table {
        assert_eq!(rule(text).takes(&call(request)), expected, "{text} takes {request}");
    }
}

#[test]
fn a_capability_that_is_none_says_what_would_be_right() {
    let table = [
        ("htp https://x.org", "did you mean `http`?"),
        ("http GET api.example.com", "has no URL"),
        ("http ftp://example.com", "http or https"),
        ("http https://example.com/path", "more than scheme, host and port"),
        ("http https://user@example.com", "more than scheme, host and port"),
        ("http https://example.com:0", "1 to 65535"),
        ("http CONNECT https://example.com", "never granted"),
        ("http https://exämple.com", "xn--"),
        ("http https://*.10.0.0.1", "nothing is below an address"),
        ("http https://a*.example.com", "is no host"),
        ("secret ../etc/passwd", "names no secret"),
        ("secret .hidden", "names no secret"),
        ("emit", "names no event"),
        ("listen a*b", "not at its end"),
    ];
    for (text, told) in table {
        let error = text.parse::<Capability>().unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn addresses_are_what_the_registries_say() {
    use AddressKind::{LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved};
    let table = [
        ("93.184.216.34", Public),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("10.1.2.3", Private),
        ("172.15.0.1", Public),
        ("172.16.0.1", Private),
        ("172.31.255.255", Private),
        ("172.32.0.1", Public),
        ("192.168.0.1", Private),
        ("100.64.0.1", Private),
        ("169.254.169.254", Metadata),
        ("100.100.100.200", Metadata),
        ("169.254.1.1", LinkLocal),
        ("0.0.0.0", Reserved),
        ("224.0.0.1", Multicast),
        ("255.255.255.255", Reserved),
        ("2606:2800:220:1:248:1893:25c8:1946", Public),
        ("::1", Loopback),
        ("::", Reserved),
        ("::ffff:127.0.0.1", Loopback),
        ("::ffff:169.254.169.254", Metadata),
        ("::127.0.0.1", Loopback),
        ("64:ff9b::10.0.0.1", Private),
        ("64:ff9b::5db8:d822", Public),
        ("2002:7f00:1::", Loopback),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Reserved),
        ("fe80::1", LinkLocal),
        ("fc00::1", Private),
        ("fd00:ec2::254", Metadata),
        ("ff02::1", Multicast),
        ("2001:db8::1", Reserved),
    ];
    for (address, kind) in table {
        assert_eq!(AddressKind::of(address.parse().unwrap()), kind, "{address}");
    }
}

#[test]
fn a_request_must_be_asked_for_and_granted_and_not_denied() {
    let ask = json!(["http GET https://*.example.com"]);
    let get = call("GET https://api.example.com");
    let denied = |asked: Value, given: Value| access(asked, given).http(&get).unwrap_err().to_string();

    let text = denied(ask.clone(), json!({}));
    assert!(text.starts_with("denied: weather is not granted `http GET https://api.example.com`"), "{text}");
    assert!(text.ends_with(r#"weather: ["http GET https://api.example.com"]"#), "{text}");
    // What the message says to write is what allows it.
    let line: Value = serde_json::from_str(r#"{"weather": ["http GET https://api.example.com"]}"#).unwrap();
    assert!(access(ask.clone(), json!({ "grants": line })).http(&get).is_ok());

    let text = denied(json!([]), json!({"grants": {"weather": ["http https://api.example.com"]}}));
    assert!(text.starts_with("denied: weather does not ask for"), "{text}");
    let everybody =
        json!({"grants": {"*": ["http https://*"]}, "deny": {"*": ["http https://api.example.com"]}});
    let text = denied(ask.clone(), everybody);
    assert!(text.contains("is under `deny:`"), "{text}");
    assert!(access(ask, json!({"grants": {"*": ["http https://*"]}})).http(&get).is_ok());
}

#[test]
fn a_name_leads_to_no_address_that_was_not_granted() {
    // Asked and granted, the request, the address that its name has, and what the message would have one grant.
    let table: [(&str, &str, &str, Option<&str>); 12] = [
        ("http://*", "GET http://x.org", "93.184.216.34", None),
        ("http://*", "GET http://x.org", "127.0.0.1", Some("http GET http://x.org private")),
        ("http://*", "GET http://x.org", "::ffff:10.0.0.1", Some("http GET http://x.org private")),
        ("http://* private", "GET http://x.org", "127.0.0.1", None),
        ("http://* private", "GET http://x.org", "169.254.169.254", Some("http GET http://169.254.169.254")),
        ("http://* private", "GET http://x.org", "fe80::1", Some("http GET http://[fe80::1]")),
        ("http://*", "GET http://127.0.0.1", "127.0.0.1", Some("http GET http://127.0.0.1")),
        ("http://* private", "GET http://127.0.0.1", "127.0.0.1", None),
        (
            "http://* private",
            "GET http://169.254.169.254",
            "169.254.169.254",
            Some("http GET http://169.254.169.254"),
        ),
        ("http://169.254.169.254", "GET http://169.254.169.254", "169.254.169.254", None),
        ("http://127.0.0.1:8080", "POST http://127.0.0.1:8080", "127.0.0.1", None),
        ("http://[::1]", "GET http://[::1]", "::1", None),
    ];
    for (text, request, address, needed) in table {
        let rule = format!("http {text}");
        let access = access(json!([rule]), json!({"grants": {"weather": [rule]}}));
        let call = call(request);
        let address: IpAddr = address.parse().unwrap();
        let allowed = access.http(&call).and_then(|reach| access.address(&call, reach, address));
        match (allowed, needed) {
            (Ok(()), None) => {}
            (Err(denied), Some(needed)) => {
                let denied = denied.to_string();
                assert!(denied.ends_with(&format!("weather: [\"{needed}\"]")), "{text}, {request}: {denied}");
                assert!(denied.contains(&address.to_string()), "{denied}");
            }
            (allowed, needed) => panic!("{text}, {request}, {address}: {allowed:?}, expected {needed:?}"),
        }
    }
}

#[test]
fn an_address_that_is_denied_is_not_reached_by_a_name() {
    let given = json!({"grants": {"*": ["http http://* private"]}, "deny": {"*": ["http http://10.0.0.7"]}});
    let access = access(json!(["http http://* private"]), given);
    let call = call("GET http://db.internal");
    let reach = access.http(&call).unwrap();
    assert!(access.address(&call, reach, "10.0.0.8".parse().unwrap()).is_ok());
    let denied = access.address(&call, reach, "10.0.0.7".parse().unwrap()).unwrap_err().to_string();
    assert!(denied.contains("`deny:`"), "{denied}");
}

#[test]
fn what_is_denied_is_denied_in_whatever_way_it_is_written() {
    let given = json!({
        "grants": {"*": ["http http://*:* private", "secret *"]},
        "deny": {"*": ["http http://127.0.0.1:8642", "http http://[::ffff:10.0.0.7]:80", "secret root_*"]},
    });
    let access = access(json!(["http http://*:* private", "secret *"]), given);
    for (at, allowed) in [
        ("127.0.0.1:8642", false),
        ("[::ffff:127.0.0.1]:8642", false),
        ("[::ffff:7f00:1]:8642", false),
        ("[::127.0.0.1]:8642", false),
        ("[::ffff:0:127.0.0.1]:8642", false),
        ("[64:ff9b::127.0.0.1]:8642", false),
        ("[2002:7f00:1::]:8642", false),
        ("10.0.0.7:80", false),
        ("[64:ff9b::10.0.0.7]:80", false),
        ("127.0.0.1:8643", true),
        ("[::ffff:127.0.0.2]:8642", true),
        ("[::1]:8642", true),
    ] {
        let call = call(&format!("GET http://{at}"));
        assert_eq!(access.http(&call).is_ok(), allowed, "{at}");
        // The same, if a name leads there.
        let named = HttpCall { host: Host::Name("name.example".into()), ..call.clone() };
        let reach = access.http(&named).unwrap();
        let address = at.rsplit_once(':').unwrap().0.trim_matches(['[', ']']).parse().unwrap();
        assert_eq!(access.address(&named, reach, address).is_ok(), allowed, "{at} by a name");
    }
    for (name, allowed) in [
        ("root_key", false),
        ("root-key", false),
        ("ROOT.key", false),
        ("Root_", false),
        ("roots", true),
        ("a", true),
    ] {
        assert_eq!(access.secret(&name.parse().unwrap()).is_ok(), allowed, "{name}");
    }
}

#[test]
fn events_are_free_until_somebody_says_which() {
    let event = |name: &str| name.parse::<EventName>().unwrap();
    // What is asked, what is granted, the event, whether it may be emitted.
    let table = [
        (json!([]), json!({}), "anything", true),
        (json!(["events"]), json!({}), "anything", true),
        (json!(["emit weather_*"]), json!({}), "Weather_Changed", true),
        (json!(["emit weather_*"]), json!({}), "anything", false),
        (json!([]), json!({"grants": {"weather": ["emit weather_*"]}}), "weather_changed", true),
        (json!([]), json!({"grants": {"weather": ["emit weather_*"]}}), "anything", false),
        (json!([]), json!({"grants": {"*": ["emit a"], "weather": ["emit b"]}}), "a", true),
        (json!([]), json!({"grants": {"other": ["emit a"]}}), "anything", true),
        (json!([]), json!({"grants": {"weather": ["nothing else"]}}), "anything", false),
        (json!([]), json!({"deny": {"*": ["emit any*"]}}), "anything", false),
    ];
    for (asked, given, name, expected) in table {
        let allowed = access(asked.clone(), given.clone()).emit(&event(name));
        assert_eq!(allowed.is_ok(), expected, "{asked} {given} {name}: {allowed:?}");
    }
    let own = access(json!(["listen x"]), json!({}));
    assert!(own.listen(&event("x")).is_ok() && own.listen(&event("PING")).is_ok());
    assert!(own.listen(&event("y")).is_err());
}

#[test]
fn what_is_missing_is_what_was_asked_for_and_not_granted() {
    let asked = json!([
        "http GET,POST https://api.example.com",
        "secret api_key",
        "emit weather_*",
        "listen *",
        "gpu 1"
    ]);
    let table = [
        (json!({}), vec!["http GET,POST https://api.example.com", "secret api_key"]),
        (
            json!({"weather": ["http GET https://*.example.com", "secret api_*"]}),
            vec!["http POST https://api.example.com"],
        ),
        (json!({"weather": ["http https://*", "secret *", "emit weather_changed"]}), vec!["emit weather_*"]),
        (json!({"*": ["http https://*", "secret *", "listen a"]}), vec!["listen *", "listen ping"]),
        (json!({"weather": ["http GET https://api.example.com", "nothing else"]}), vec![]),
    ];
    for (given, expected) in table {
        let mut grants = grants(json!({ "grants": given }));
        let manifest = manifest(asked.clone());
        let shortfalls = grants.shortfalls([&manifest]);
        // What the host does not know cannot be granted, and is told of in any case.
        assert_eq!(shortfalls[0].unknown, ["gpu 1"]);
        let missing: Vec<String> = shortfalls[0].missing.iter().map(ToString::to_string).collect();
        assert_eq!(missing, expected, "{given}");
        grants.grant(&shortfalls);
        assert!(grants.access(&manifest).missing().is_empty(), "{given}");
    }
    let denied = grants(json!({"deny": {"weather": ["http https://*", "secret *"]}}));
    assert!(denied.access(&manifest(asked)).missing().is_empty(), "what is denied was decided");
}

#[test]
fn old_manifests_are_read_and_said_again_as_they_mean() {
    let manifest = manifest(json!(["events"]));
    assert_eq!(manifest.capabilities.texts(), ["emit *", "listen *"]);
    let newer: Capabilities = serde_json::from_value(json!(["emit *", "emit *"])).unwrap();
    assert_eq!(json!(newer), json!(["emit *"]));
}

fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a.org",
        "x.a.org",
        "y.x.a.org",
        "b.org",
        "127.0.0.1",
        "8.8.8.8",
        "[::1]",
        "169.254.169.254",
    ])
}

fn any_rule() -> impl Strategy<Value = String> {
    let methods = prop::sample::select(vec!["", "GET ", "POST ", "GET,POST "]);
    let hosts = prop_oneof![
        host().prop_map(str::to_owned),
        Just("*".to_owned()),
        Just("*.a.org".into()),
        Just("*.x.a.org".into())
    ];
    let ports = prop::sample::select(vec!["", ":81", ":*"]);
    let private = prop::sample::select(vec!["", " private"]);
    let scheme = prop::sample::select(vec!["http", "https"]);
    (methods, scheme, hosts, ports, private).prop_map(|(m, s, h, p, v)| format!("{m}{s}://{h}{p}{v}"))
}

fn any_call() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec!["GET", "POST", "PUT"]);
    let scheme = prop::sample::select(vec!["http", "https"]);
    (method, scheme, host(), prop::sample::select(vec!["", ":81", ":82"]))
        .prop_map(|(m, s, h, p)| format!("{m} {s}://{h}{p}"))
}

proptest! {
    #[test]
    fn what_a_rule_covers_is_not_more_than_it_takes(wide in any_rule(), narrow in any_rule(), request in any_call()) {
        let (wide, narrow) = (rule(&wide), rule(&narrow));
        let call = call(&request);
        if wide.covers(&narrow) && narrow.takes(&call) {
            prop_assert!(wide.takes(&call), "{wide} covers {narrow}, and does not take {call}");
            let of = |rule: &HttpRule| {
                let rule = json!([format!("http {rule}")]);
                access(rule.clone(), json!({"grants": {"weather": rule}}))
            };
            let (wide, narrow) = (of(&wide), of(&narrow));
            for address in ["127.0.0.1", "8.8.8.8", "169.254.169.254"] {
                let reaches = |access: &Access| access.http(&call).and_then(|reach| access.address(&call, reach, address.parse().unwrap()));
                // A literal address leads nowhere else.
                let leads = match call.host { Host::Address(own) => own == address.parse::<IpAddr>().unwrap(), Host::Name(_) => true };
                if leads && reaches(&narrow).is_ok() {
                    prop_assert!(reaches(&wide).is_ok(), "{address}");
                }
            }
        }
        prop_assert!(wide.covers(&wide));
        prop_assert_eq!(rule(&wide.to_string()), wide);
    }

    #[test]
    fn any_text_is_a_capability_or_an_error(text in ".{0,60}", kind in prop::sample::select(vec!["", "http ", "secret ", "emit "])) {
        if let Ok(capability) = format!("{kind}{text}").parse::<Capability>() {
            prop_assert_eq!(capability.to_string().parse::<Capability>().unwrap(), capability);
        }
    }
}
