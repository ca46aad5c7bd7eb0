use super::*;

fn checked(body: &str) -> Result<(), Reason> {
    check(body.as_bytes(), "a1", false, ResourceType::Patient)
}

#[test]
fn only_a_whole_resource_of_the_rows_type_and_id_passes() {
    assert_eq!(checked(r#"{"resourceType":"Patient","id":"a1","x":[{"y":7.10}]}"#), Ok(()));
    assert_eq!(checked(r#"{"id":"a1","resourceType":"Pat\u0069ent"}"#), Ok(()));
    assert_eq!(checked(r#"{"resourceType":"Goal","id":"a1"}"#), Err(Reason::WrongType));
    assert_eq!(checked(r#"{"resourceType":"Patient","id":"a2"}"#), Err(Reason::WrongId));
    for broken in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"resourceType":"Patient"}"#,
        r#"{"resourceType":"Patient","id":"a1""#,
        r#"{"resourceType":"Patient","id":"a1"} x"#,
        r#"{"resourceType":"Patient","id":"a1","x":nul}"#,
        "{\"resourceType\":\"Patient\",\"id\":\"a1\",\"x\":\"raw\nfeed\"}",
        "\u{feff}{\"resourceType\":\"Patient\",\"id\":\"a1\"}",
        r#"{"resourceType":"Patient","id":"a1","id":"a1"}"#,
    ] {
        assert_eq!(checked(broken), Err(Reason::InvalidJson), "{broken}");
    }
    assert_eq!(
        check(
            b"{\"resourceType\":\"Patient\",\"id\":\"a1\",\"x\":\"\xff\"}",
            "a1",
            false,
            ResourceType::Patient
        ),
        Err(Reason::InvalidJson)
    );
    assert_eq!(
        check(br#"{"resourceType":"Patient","id":"a/1"}"#, "a/1", false, ResourceType::Patient),
        Err(Reason::IllegalId)
    );
}

#[test]
fn a_place_to_resume_survives_storage() {
    let resume = Resume { after: None, numbering: Numbering::new(3, 2) };
    let stored = serde_json::to_value(&resume).unwrap();
    assert_eq!(serde_json::from_value::<Resume>(stored).unwrap(), resume);
}

#[tokio::test]
async fn an_open_file_counts_lines_and_hashes_what_it_holds() {
    let budget = Budget::new(1024 * 1024);
    let mut file = OpenFile::new();
    for line in ["{\"a\":1}", "{\"b\":2}"] {
        file.reserve(&budget, line.len() + 1).await;
        file.body.extend_from_slice(line.as_bytes());
        file.body.push(b'\n');
        file.take_in(1);
    }
    assert_eq!(file.body, b"{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(file.resources, 2);
    let again = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &file.body);
    assert_eq!(file.sha256.finish().as_ref(), again.as_ref());
    assert_eq!(file.crc32.finalize(), crc32fast::hash(&file.body));
}
