use std::time::Instant;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::presigning::PresigningConfig;

use super::*;
use crate::{Objects, S3Config};

const HOUR: Duration = Duration::from_secs(3600);

/// 2026-02-28T23:59:59Z
const START: Duration = Duration::from_secs(1_772_323_199);

fn objects(endpoint: Option<&str>, path_style: bool, token: Option<&str>) -> Objects {
    let config = S3Config {
        endpoint: endpoint.map(str::to_owned),
        region: "eu-central-1".to_owned(),
        bucket: "files".to_owned(),
        path_style,
        sign_payload: false,
        keys: None,
        links: Duration::ZERO,
    };
    let credentials = Credentials::new("AKID/EXAMPLE", "sec+ret", token.map(str::to_owned), None, "test");
    Objects::with(config, SharedCredentialsProvider::new(credentials), aws_sdk_s3::config::Builder::new())
}

#[tokio::test]
async fn links_are_those_of_the_sdk_byte_for_byte() {
    let start = SystemTime::UNIX_EPOCH + START;
    let keys = [
        "-",
        "ema/100491/d60cbaa19d337fbfb8ba2677d4dc30a4/r2/patient_1-2.ndjson",
        "a b+c%20d/é😀~_.-",
        "//..//./x/",
        "!\"#$&'()*,:;<=>?@[\\]^`{|}",
        "X-Amz-Signature=",
    ];
    for endpoint in [
        None,
        Some("http://127.0.0.1:9000"),
        Some("https://s3.example:443"),
        Some("http://s3.example:80"),
        Some("https://s3.example:8443/below/a/path"),
    ] {
        for path_style in [true, false] {
            for token in [None, Some("to+ken/with=odd&signs")] {
                let objects = objects(endpoint, path_style, token);
                let signer = objects.signer_at(HOUR, || start).await.unwrap();
                for key in keys {
                    let config =
                        PresigningConfig::builder().start_time(start).expires_in(HOUR).build().unwrap();
                    let get = objects.client.get_object().bucket("files").key(key);
                    assert_eq!(signer.get(key), get.presigned(config.clone()).await.unwrap().uri());
                    let head = objects.client.head_object().bucket("files").key(key);
                    assert_eq!(signer.head(key), head.presigned(config).await.unwrap().uri());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_sample_that_was_signed_otherwise_makes_no_signer() {
    let start = SystemTime::UNIX_EPOCH + START;
    let objects = objects(None, false, None);
    let signer = objects.signer_at(HOUR, || start).await.unwrap();
    let sample = signer.get(SAMPLE);
    let made = |link: &str, secret: &str| {
        let credentials = Credentials::new("AKID/EXAMPLE", secret, None, None, "test");
        LinkSigner::from_sample(link, &credentials, start, HOUR).is_some()
    };
    assert!(made(&sample, "sec+ret"));
    assert!(!made(&sample, "other"));
    assert!(!made(&sample.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "sec+ret"));
    assert!(!made(&sample.replace("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-a"), "sec+ret"));
    for cut in 0..sample.len() {
        assert!(!made(&sample[..cut], "sec+ret"), "{cut}");
    }
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "a measurement to read, not to assert")]
async fn ten_thousand_links_take_little_time() {
    let objects = objects(None, false, None);
    let started = Instant::now();
    let signer = objects.signer(HOUR).await.unwrap();
    println!("the first signer: {:?}", started.elapsed());
    let started = Instant::now();
    let signer_again = objects.signer(HOUR).await.unwrap();
    println!("a further signer: {:?}", started.elapsed());
    assert_eq!(signer_again.life(), signer.life());
    let started = Instant::now();
    let bytes: usize =
        (0..10_000).map(|n| signer.get(&format!("ema/100491/d60c/patient_{n}.ndjson")).len()).sum();
    println!("10,000 links: {:?}, {bytes} bytes", started.elapsed());
}
