use super::*;
use crate::practice::UsCore;

const HEAD: &str =
    r#""resourceType":"Goal","id":"{{id}}S","meta":{"lastUpdated":"{{last_updated | instant}}"}"#;

fn goal(suffix: &str, members: &str) -> String {
    format!("{{{}{members}}}", HEAD.replace('S', suffix))
}

fn file(streams: &str) -> String {
    format!(r#"{{"resourceType":"Goal","codes":{{"t":{{"*":null}}}},"streams":[{streams}]}}"#)
}

fn problems(name: &str, text: &str) -> String {
    MappingSet::parse([(name, text)], UsCore::V6_1_0).unwrap_err().to_string()
}

#[test]
fn a_file_gives_the_streams_of_its_type() {
    let stream = format!(
        r#"{{"relation":"goal","resources":[{},{}]}}"#,
        goal("", ""),
        goal("-b", r#","note":[{"text":"{{a}}"}]"#)
    );
    let set = MappingSet::parse([("Goal.json", file(&stream).as_str())], UsCore::V7_0_0).unwrap();
    let [stream] = set.streams(ResourceType::Goal).unwrap() else { panic!("one stream") };
    assert_eq!((stream.relation.as_str(), stream.variables.us_core), ("goal", UsCore::V7_0_0));
    assert!(set.streams(ResourceType::Patient).is_none());
    // Wherever it is stored, it gives the same templates.
    let stored = serde_json::to_value(stream).unwrap();
    let again: StreamMapping = serde_json::from_value(stored).unwrap();
    let suffixes: Vec<String> = again.templates().unwrap().iter().map(|t| t.suffix().to_owned()).collect();
    assert_eq!(suffixes, ["", "-b"]);
    assert_eq!(again.most_per_row(), Ok(2));
}

#[test]
fn templates_that_exclude_each_other_count_once() {
    let one = |suffix: &str, when: &str| goal(suffix, &format!(r#","$when":"{when}""#));
    let stream = format!(
        r#"{{"relation":"goal","resources":[{},{},{},{}]}}"#,
        one("-a", "k = 'a'"),
        one("-b", "k = 'b' and x is null"),
        one("-c", "k is null or k = 'c'"),
        one("-d", "y is not null"),
    );
    let set = MappingSet::parse([("Goal.json", file(&stream).as_str())], UsCore::V6_1_0).unwrap();
    assert_eq!(set.streams(ResourceType::Goal).unwrap()[0].most_per_row(), Ok(2));
}

#[test]
fn everything_that_is_wrong_is_told_with_file_and_place() {
    let two = format!(r#"{{"relation":"goal","resources":[{},{}]}}"#, goal("", ""), goal("", ""));
    assert!(
        problems("Goal.json", &file(&two))
            .contains("Goal.json: streams[0].resources[1].id: another template")
    );
    let relation = format!(r#"{{"relation":"Goal","resources":[{}]}}"#, goal("", r#","x":null"#));
    let found = problems("Goal.json", &file(&relation));
    assert!(found.contains("streams[0].relation: must match"), "{found}");
    assert!(found.contains("streams[0].resources[0].x: null is no value"), "{found}");
    assert!(problems("Gaol.json", "{}").contains("Gaol.json: the name of a mapping file is <Type>.json"));
    assert!(problems("Patient.json", &file("")).contains("resourceType: must be \"Patient\""));
    assert!(problems("Goal.json", "{\"resourceType\":1").contains("Goal.json: is no mapping file"));
    assert!(
        problems("Goal.json", r#"{"resourceType":"Goal","streams":[],"stream":[]}"#)
            .contains("unknown field")
    );
}

#[test]
fn a_stream_keeps_the_base_url_with_which_it_was_planned_if_it_uses_it() {
    let variables = |base: &str| Variables { us_core: UsCore::V6_1_0, base_url: base.to_owned() };
    let parsed = |text: &str, base: &str| {
        let stream = format!(r#"{{"relation":"goal","resources":[{}]}}"#, goal("", text));
        let text = file(&stream);
        let set = MappingSet::parse([("Goal.json", text.as_str())], variables(base)).unwrap();
        set.streams(ResourceType::Goal).unwrap()[0].clone()
    };
    let with = parsed(r#","x":"{{$base_url}}/Binary/{{a}}""#, "https://a.example/r4");
    let stored = serde_json::to_value(&with).unwrap();
    assert_eq!(stored["base_url"], "https://a.example/r4");
    assert_eq!(serde_json::from_value::<StreamMapping>(stored).unwrap(), with);
    // One that does not is the same at every practice, and as it was stored before there was such a variable.
    let without = parsed(r#","x":"{{a}}""#, "https://a.example/r4");
    assert_eq!(without, parsed(r#","x":"{{a}}""#, "https://b.example/r4"));
    let stored = serde_json::to_value(&without).unwrap();
    assert!(stored.get("base_url").is_none() && stored["us_core"] == "6.1.0");
    assert_eq!(serde_json::from_value::<StreamMapping>(stored).unwrap(), without);
}
