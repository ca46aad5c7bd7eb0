use axum::body::Body;
use headgate_api::*;
use headgate_auth::*;
use headgate_objects::*;
use http::Request;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt as _;

async fn call(r: &axum::Router, m: &str, url: &str, headers: &[(&str, &str)], body: &str) -> (u16, http::HeaderMap, Value) {
    let host = url.split('/').nth(2).unwrap();
    let path = url.splitn(4, '/').nth(3).unwrap();
    let mut q = Request::builder().method(m).uri(format!("/{path}")).header("host", host);
    for (k, v) in headers { q = q.header(*k, *v); }
    let resp = r.clone().oneshot(q.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (p, b) = resp.into_parts();
    let b = axum::body::to_bytes(b, 1 << 20).await.unwrap();
    let v = serde_json::from_slice(&b).unwrap_or(Value::String(String::from_utf8_lossy(&b).into_owned()));
    println!("{m} {url} -> {} {}", p.status, v);
    (p.status.as_u16(), p.headers, v)
}
fn psql(sql: &str) -> String {
    let out = std::process::Command::new("psql").args(["-qAtX", "-d", &std::env::var("SMOKE_DB").unwrap(), "-c", sql]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[tokio::test]
async fn smoke() {
    let url = std::env::var("SMOKE_DB").unwrap();
    let store = headgate_store::Store::connect(&url, 5, Duration::from_secs(5)).await.unwrap();
    store.migrate().await.unwrap();
    let objects = Objects::connect(S3Config {
        endpoint: Some("http://127.0.0.1:9".into()),
        region: "us-east-1".into(),
        bucket: "b".into(),
        path_style: true,
        sign_payload: true, keys: Some(Keys { access_key_id: "a".into(), secret_access_key: "s".to_owned().into() }),
    }).await.unwrap();
    let config = ApiConfig {
        public_base_url: "https://fhir.example".parse().unwrap(),
        token_path: "/auth/token".into(), issuer: "https://fhir.example/auth".into(),
        token_lifetime: Duration::from_secs(1800), clock_skew: Duration::from_secs(60), url_ttl: Duration::from_secs(1800),
        poll_min_age: Duration::from_millis(0), max_exports_per_app: 2, operator_token: "op".to_owned().into(),
        max_body_bytes: 65536, max_admin_body_bytes: 1 << 20, body_timeout: Duration::from_secs(5),
    };
    let state = ApiState::start(Deps { store: store.clone(), objects, config }).await.unwrap();
    let (public, admin) = (public_router(state.clone()), admin_router(state));
    let op = [("authorization", "Bearer op")];
    let a = |p: &str| format!("http://admin/admin/v1/{p}");
    assert_eq!(call(&admin, "GET", &a("vendors"), &[], "").await.0, 401);
    assert_eq!(call(&admin, "GET", &a("nothing"), &op, "").await.0, 404);
    assert_eq!(call(&admin, "PATCH", &a("vendors"), &op, "").await.0, 405);
    let (s, _, v) = call(&admin, "POST", &a("vendors"), &op, r#"{"name":"V","contact_email":"a@b"}"#).await;
    assert_eq!(s, 201);
    assert_eq!(call(&admin, "POST", &a("vendors"), &op, r#"{"name":"V","contact_email":"a@b"}"#).await.0, 409);
    for (n, slug, base) in [(1, "one", "https://fhir.example/one/fhir/r4"), (2, "two", "https://two.example/fhir/r4")] {
        let b = json!({"number":n,"slug":slug,"name":slug,"base_url":base,"source":{"dsn_ref":"env:X","settings":{"app.practice":"1"}}});
        assert_eq!(call(&admin, "POST", &a("practices"), &op, &b.to_string()).await.0, 201);
    }
    call(&admin, "GET", &a("practices"), &op, "").await;
    let key = PrivateKey::generate(Algorithm::Es384).unwrap();
    let jwks = jwks_document([key.public_jwk()]);
    let b = json!({"vendor_id":v["vendor_id"],"name":"App","jwks":jwks,"security_contact":"x@y"});
    let (s, _, app) = call(&admin, "POST", &a("apps"), &op, &b.to_string()).await;
    assert_eq!((s, app["status"].as_str()), (201, Some("disabled")));
    let client = app["client_id"].as_str().unwrap().to_owned();
    let form = |aud: &str, scope: &str, jti: &str| {
        let now = chrono::Utc::now().timestamp();
        let t = key.sign(&json!({"iss":client,"sub":client,"aud":aud,"exp":now+300,"jti":jti})).unwrap();
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs([
            ("client_id", client.as_str()), ("scope", scope), ("encryption_method", "ES384"), ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), ("client_assertion", &t)]).finish()
    };
    let ct = [("content-type", "application/x-www-form-urlencoded")];
    let shared = "https://fhir.example/auth/token";
    let r = call(&public, "POST", shared, &ct, &form(shared, "system/*.rs", "1")).await;
    assert_eq!((r.0, r.2["error"].as_str()), (400, Some("unauthorized_client")));
    for n in [1, 2] {
        assert_eq!(call(&admin, "POST", &a(&format!("practices/{n}/consents")), &op, &json!({"client_id":client}).to_string()).await.0, 201);
        if n == 1 {
            assert_eq!(call(&admin, "POST", &a("practices/1/consents"), &op, &json!({"client_id":client}).to_string()).await.0, 409);
            let r = call(&public, "POST", shared, &ct, &form(shared, "system/*.rs system/*.rs", "1")).await;
            assert_eq!(r.0, 200);
            let r = call(&public, "POST", shared, &ct, &form(shared, "system/*.rs", "1")).await;
            assert_eq!((r.0, r.2["error"].as_str()), (400, Some("invalid_client")));
        }
    }
    let r = call(&public, "POST", shared, &ct, &form(shared, "system/*.rs", "2")).await;
    assert_eq!(r.2["error"], "invalid_target");
    assert_eq!(call(&admin, "GET", &a(&format!("apps/{client}")), &op, "").await.2["status"], "enabled");
    let mut tokens = vec![];
    for (i, base) in ["https://fhir.example/one/fhir/r4", "https://two.example/fhir/r4"].iter().enumerate() {
        let u = format!("{base}/auth/token");
        let r = call(&public, "POST", &u, &ct, &form(&u, "system/*.rs", &format!("t{i}"))).await;
        assert_eq!(r.0, 200);
        tokens.push(format!("Bearer {}", r.2["access_token"].as_str().unwrap()));
    }
    let base = "https://fhir.example/one/fhir/r4";
    let t1 = tokens[0].as_str();
    let h = [("authorization", t1), ("accept", "application/fhir+json"), ("prefer", "respond-async")];
    assert_eq!(call(&public, "GET", &format!("{base}/metadata"), &[], "").await.0, 200);
    assert_eq!(call(&public, "GET", &format!("{base}/.well-known/smart-configuration"), &[], "").await.0, 200);
    assert_eq!(call(&public, "GET", "https://fhir.example/auth/certs", &[], "").await.0, 200);
    assert_eq!(call(&public, "GET", "https://evil.example/one/fhir/r4/metadata", &[], "").await.0, 404);
    assert_eq!(call(&public, "GET", &format!("{base}/$export?_outputFormat=csv"), &[], "").await.0, 400);
    assert_eq!(call(&public, "GET", &format!("{base}/$export"), &h[1..], "").await.0, 401);
    assert_eq!(call(&public, "GET", &format!("{base}/$export"), &[("authorization", tokens[1].as_str())], "").await.0, 403);
    assert_eq!(call(&public, "GET", &format!("{base}/$export"), &[("authorization", t1)], "").await.0, 400);
    assert_eq!(call(&public, "GET", &format!("{base}/$export"), &h, "").await.0, 503);
    assert_eq!(call(&public, "POST", &format!("{base}/$export"), &h, "").await.0, 405);
    psql(r#"UPDATE headgate.source_catalog SET refreshed_at = clock_timestamp(), catalog = '{"schema":"x","relations":[{"resource_type":"Patient","name":"patient"},{"resource_type":"Goal"}],"tombstone":true}'"#);
    call(&admin, "GET", &a("practices/1/source"), &op, "").await;
    assert_eq!(call(&admin, "POST", &a("practices/1/refresh"), &op, "").await.0, 202);
    assert_eq!(call(&public, "GET", &format!("{base}/metadata"), &[], "").await.0, 200);
    assert_eq!(call(&public, "GET", &format!("{base}/Group/1.2/$export"), &h, "").await.0, 404);
    assert_eq!(call(&admin, "PUT", &a("practices/1/groups/1.2"), &op, r#"{"name":"G"}"#).await.0, 201);
    assert_eq!(call(&admin, "PUT", &a("practices/1/groups/1.2"), &op, r#"{"name":"GG"}"#).await.0, 200);
    let r = call(&admin, "POST", &a("practices/1/groups/1.2/members"), &op, r#"{"add":["a","b","a"]}"#).await;
    assert_eq!(r.2, json!({"joined":2,"left":0,"member_count":2}));
    let r = call(&admin, "PUT", &a("practices/1/groups/1.2/members"), &op, r#"{"patient_ids":["b","c"]}"#).await;
    assert_eq!(r.2, json!({"joined":1,"left":1,"member_count":2}));
    let r = call(&admin, "POST", &a("practices/1/groups/1.2/members"), &op, r#"{"add":["a"],"remove":["b","z"]}"#).await;
    assert_eq!(r.2, json!({"joined":1,"left":1,"member_count":2}));
    call(&admin, "GET", &a("practices/1/groups/1.2"), &op, "").await;
    call(&admin, "GET", &a("practices/1/groups"), &op, "").await;
    let (s, hd, _) = call(&public, "GET", &format!("{base}/Group/1.2/$export?_since=2022-10-01T00:00:00"), &h, "").await;
    assert_eq!(s, 202);
    let group_status = hd["content-location"].to_str().unwrap().to_owned();
    let lenient = [("authorization", t1), ("accept", "*/*"), ("prefer", "respond-async, handling=lenient")];
    let (s, hd, _) = call(&public, "GET", &format!("{base}/%24export?_type=Patient,Missing&x=1"), &lenient, "").await;
    assert_eq!(s, 202);
    let status = hd["content-location"].to_str().unwrap().to_owned();
    assert_eq!(call(&public, "GET", &format!("{base}/$export"), &h, "").await.0, 429);
    assert_eq!(call(&public, "GET", &status, &h, "").await.0, 202);
    assert_eq!(call(&public, "GET", &status.replace("fhir.example/one", "two.example"), &[("authorization", &tokens[1])], "").await.0, 404);
    assert_eq!(call(&public, "DELETE", &group_status, &h, "").await.0, 202);
    assert_eq!(call(&public, "DELETE", &group_status, &h, "").await.0, 404);
    assert_eq!(call(&public, "GET", &group_status, &h, "").await.0, 404);
    let id = status.rsplit('/').next().unwrap().to_owned();
    psql(&format!("UPDATE headgate.export SET state='completed', transaction_time=clock_timestamp(), expires_at=clock_timestamp()+interval '1 h' WHERE export_id='{id}'"));
    psql(&format!("INSERT INTO headgate.file VALUES (1,'{id}','output','Patient',1,1,'ema/1/{id}/patient_1.ndjson',3,100,repeat('0',64),1,1)"));
    psql(&format!("INSERT INTO headgate.export_stream (practice_number,export_id,stream,resource_type,relation,access_path,planned_rows) VALUES (1,'{id}',1,'Patient','{{}}','all',3)"));
    psql(&format!("INSERT INTO headgate.shard (practice_number,export_id,stream,shard,slice,planned_rows,first_number,number_count,state,resources,bytes,files) VALUES (1,'{id}',1,1,'{{}}',3,1,1,'done',3,100,1)"));
    let (s, hd, m) = call(&public, "GET", &status, &h, "").await;
    assert_eq!(s, 200);
    println!("{hd:?}");
    assert_eq!(m["request"], format!("{base}/%24export?_type=Patient,Missing&x=1"));
    assert_eq!(call(&admin, "GET", &a("practices/1/exports"), &op, "").await.0, 200);
    assert_eq!(call(&admin, "GET", &a(&format!("practices/1/exports/{id}")), &op, "").await.0, 200);
    assert_eq!(call(&admin, "GET", &a(&format!("practices/2/exports/{id}")), &op, "").await.0, 404);
    let r = call(&admin, "POST", &a(&format!("practices/1/consents/{client}/revoke")), &op, r#"{"reason":"enough"}"#).await;
    assert_eq!((r.0, r.2["ended_exports"].as_u64()), (200, Some(1)));
    assert_eq!(call(&admin, "POST", &a(&format!("practices/1/consents/{client}/revoke")), &op, "").await.0, 404);
    assert_eq!(call(&public, "GET", &status, &h, "").await.0, 404);
    assert_eq!(call(&public, "GET", &format!("{base}/$export"), &h, "").await.0, 403);
    assert_eq!(call(&admin, "POST", &a(&format!("practices/1/exports/{id}/cancel")), &op, "").await.0, 409);
    assert_eq!(call(&admin, "GET", &a("practices/1/consents"), &op, "").await.0, 200);
    println!("{}", psql("SELECT actor, action, practice_number, export_id, detail FROM headgate.audit_event ORDER BY audit_id"));
    println!("{}", psql("SELECT count(*) FROM apalis.jobs"));
    println!("{}", psql("SELECT * FROM headgate.problem"));
    println!("{}", psql("SELECT patient_id, member_since, member_until FROM headgate.patient_group_member ORDER BY 2"));
    drop(store);
}
