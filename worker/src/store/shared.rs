//! The files that AWS's tools share: `~/.aws/credentials` and `~/.aws/config`, and one profile of
//! them.

use std::collections::BTreeMap;

/// The settings of one profile, from both files.
pub(super) type Settings = BTreeMap<String, String>;

/// A profile's settings in the two files' texts; what the first says of a setting counts. None if
/// neither has the profile.
pub(super) fn profile(credentials: &str, config: &str, name: &str) -> Option<Settings> {
    let in_credentials = section(credentials, |header| header == name);
    let in_config = section(config, |header| {
        let named = header.strip_prefix("profile ").map(str::trim);
        named == Some(name) || (name == "default" && header == "default")
    });
    match (in_credentials, in_config) {
        (None, None) => None,
        (one, other) => {
            let mut settings = other.unwrap_or_default();
            settings.extend(one.unwrap_or_default());
            Some(settings)
        }
    }
}

/// The settings below the headers that are wanted. Lines that are indented belong to a setting of
/// several lines, which none of ours is.
fn section(text: &str, wanted: impl Fn(&str) -> bool) -> Option<Settings> {
    let mut found: Option<Settings> = None;
    let mut inside = false;
    for line in text.lines() {
        let plain = line.trim();
        if plain.is_empty() || plain.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = plain
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            inside = wanted(header.0.trim());
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let (true, false, Some((key, value))) =
            (inside, line.starts_with([' ', '\t']), plain.split_once('='))
        else {
            continue;
        };
        // A comment behind a value begins with white space.
        let end = [" #", " ;", "\t#", "\t;"]
            .iter()
            .filter_map(|mark| value.find(mark))
            .min();
        let value = value.get(..end.unwrap_or(value.len())).unwrap_or(value);
        if let Some(found) = &mut found {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\
# keys
[default]
aws_access_key_id = A1
aws_secret_access_key=S=1/+ # not the secret

[ other ]
AWS_ACCESS_KEY_ID = A2
";
    const CONFIG: &str = "\
[default]
region = eu-west-1
aws_access_key_id = from-config
s3 =
  endpoint_url = nested
[profile other]
region = eu-west-2
[profile role]
role_arn = arn:aws:iam::1:role/x
[services other]
region = no
";

    #[test]
    fn a_profile_is_in_both_files() {
        let default = profile(CREDENTIALS, CONFIG, "default").unwrap();
        assert_eq!(default["aws_access_key_id"], "A1");
        assert_eq!(default["aws_secret_access_key"], "S=1/+");
        assert_eq!(default["region"], "eu-west-1");
        assert!(!default.contains_key("endpoint_url"));
        let other = profile(CREDENTIALS, CONFIG, "other").unwrap();
        assert_eq!(
            (&*other["aws_access_key_id"], &*other["region"]),
            ("A2", "eu-west-2")
        );
        assert_eq!(profile(CREDENTIALS, CONFIG, "role").unwrap().len(), 1);
        assert_eq!(profile(CREDENTIALS, CONFIG, "absent"), None);
        assert_eq!(profile("", "[other]\nregion = x", "other"), None);
    }
}
