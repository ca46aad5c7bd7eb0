use super::*;

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
