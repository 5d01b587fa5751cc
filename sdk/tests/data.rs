//! The schema and the struct that are made of each other, and when data are written.

use ays_core::{manifest::Manifest, schema::Schema as CoreSchema};
use ays_sdk::{Actor, prelude::*, rt};

#[derive(Clone, Serialize, Deserialize, Schema)]
struct Derived {
    /// What it says.
    #[schema(default = "hello prince", regex = "[a-z ]*", alias = ["message"], id)]
    msg: String,
    #[schema(default = -3, minval = -10, maxval = 10)]
    shift: i8,
    ratio: f32,
    #[schema(default = true)]
    on: bool,
    #[schema(default = ["a", "b"])]
    names: Vec<String>,
    #[schema(type = "ipport", default = 22)]
    port: u16,
    #[schema(singlechoice = ["ssd", "hdd"], default = "ssd")]
    disk: String,
    #[schema(multichoice = ["web", "db"])]
    roles: Vec<String>,
    labels: std::collections::BTreeMap<String, String>,
    #[serde(rename = "type")]
    #[schema(type = "email", optional)]
    kind: String,
    anything: Value,
    #[serde(skip)]
    _cache: Vec<fn()>,
}

#[actor(schema = "tests/hrd/schema.hrd", config = "tests/hrd/actor.hrd")]
impl FromHrd {
    #[action]
    fn install(&mut self, _job: &Job) {
        self.r#type.push_str(&self.msg);
    }

    #[action]
    fn send_message(&self, _job: &Job) {}
}

#[test]
fn a_struct_with_attributes_is_the_schema_that_an_hrd_file_would_be() {
    let hrd = "
        msg = descr:'What it says.' default:'hello prince' regex:'[a-z ]*' alias:message id
        shift = type:int default:-3 minval:-10 maxval:10
        ratio = type:float
        on = type:bool default:true
        names = list default:'a,b'
        port = type:ipport default:22
        disk = singlechoice:'ssd, hdd' default:ssd
        roles = multichoice:'web, db'
        labels = type:dict
        type = type:email optional
        anything = type:json";
    let wanted = ays_core::hrd::parse_schema("schema.hrd", hrd).unwrap();
    let derived: CoreSchema = serde_json::from_str(Derived::SCHEMA).unwrap();
    assert_eq!(derived, wanted);
    let defaults = serde_json::Value::Object(derived.defaults());
    serde_json::from_value::<Derived>(defaults).unwrap();
}

#[test]
fn a_generated_struct_has_the_schemas_types_defaults_and_names() {
    let manifest: Manifest = serde_json::from_str(&FromHrd::describe()).unwrap();
    let defaults = serde_json::Value::Object(manifest.schema.defaults());
    let data = FromHrd::default();
    assert_eq!(serde_json::to_value(&data).unwrap(), defaults);
    assert_eq!(serde_json::from_value::<FromHrd>(defaults).unwrap(), data);
    assert_eq!((data.msg.as_str(), data.disk_size, data.names.len()), ("hello prince", 3, 2));
    let recurring = manifest.action("send_message").unwrap().recurring.clone().unwrap();
    assert_eq!((recurring.period.to_string().as_str(), recurring.log), ("5s", true));
    assert!(manifest.action("install").unwrap().recurring.is_none());
}

/// Data that are not the host's: a write would be a call to the host, which there is not, and abort.
struct Kept(u32);

impl ays_sdk::Schema for Kept {
    const SCHEMA: &'static str = "[]";

    fn load() -> Result<Self> {
        Ok(Self(1))
    }

    fn text(&self) -> Result<String> {
        Ok(self.0.to_string())
    }
}

#[test]
fn data_are_not_written_when_they_are_unchanged_or_the_action_failed() {
    let unchanged = rt::writing(|data: &mut Kept| {
        data.0 += 1;
        data.0 -= 1;
        Ok("null".to_owned())
    });
    assert_eq!(unchanged.unwrap(), "null");
    let failed = rt::writing(|data: &mut Kept| {
        data.0 += 1;
        Err(Error::new("no"))
    });
    assert_eq!(failed.unwrap_err().message(), "no");
}
