use headgate_domain::request::Selection;

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

#[tokio::test]
async fn what_was_passed_over_of_a_row_is_told_with_the_file_that_holds_it() {
    let (full, mut filled) = mpsc::channel(8);
    let links = crate::select::Links::new("https://a.example/r4", Some(Reason::NeedsToken));
    let reports = Select::new(ResourceType::DiagnosticReport, &Selection::default(), None);
    let frame = Frame {
        resource_type: ResourceType::DiagnosticReport,
        programs: Vec::new(),
        select: reports.with_links(Some(links)),
        limits: Limits { file_resources: 1000, per_row: 1 },
        file_bytes: 250,
        resource_bytes: 1000,
        resume: Resume { after: None, numbering: Numbering::new(1, 8) },
    };
    let mut framer = Framer::new(frame, Budget::new(1024 * 1024), full);
    let mut before = None;
    for n in 1..=4 {
        let line = format!(
            r#"{{"resourceType":"DiagnosticReport","id":"{n}","presentedForm":[{{"url":"https://a.example/r4/Binary/7"}}]}}"#
        );
        let after = Cursor::Beyond { patient_id: n.to_string() };
        framer.select_line("1", line.as_bytes(), before.as_ref(), &after).await.unwrap();
        before = Some(after);
    }
    let (rest, _) = framer.finish(before.as_ref()).await.unwrap();
    assert!(rest.is_empty());
    let mut files = Vec::new();
    while let Some(file) = filled.recv().await {
        files.push((file.resources, file.problems.iter().map(|problem| problem.rows).sum::<u64>()));
    }
    // A file that is published is not read again: what a file tells must be of its own rows.
    assert_eq!(files, [(2, 2), (2, 2)]);
}
