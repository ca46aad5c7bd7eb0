-- Who may export what: suspension, rotation of keys, revoked tokens, changed consents, sealed audit.

------------------------------------------------------------------------------------------------ who

ALTER TABLE headgate.vendor
    ADD COLUMN suspended_at   timestamptz,
    ADD COLUMN suspended_by   text,
    ADD COLUMN suspend_reason text,
    ADD COLUMN revision       bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN headgate.vendor.revision IS 'Grows with every change; the ETag of the admin API, as in the other tables.';

ALTER TABLE headgate.practice
    ADD COLUMN suspended_by   text,
    ADD COLUMN suspend_reason text,
    ADD COLUMN revision       bigint NOT NULL DEFAULT 1;

ALTER TABLE headgate.app
    ADD COLUMN jwks_url       text,
    ADD COLUMN suspended_by   text,
    ADD COLUMN suspend_reason text,
    ADD COLUMN revision       bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN headgate.app.jwks_url IS 'Where its keys are published; null: they are in app_key.';

ALTER TABLE headgate.app_key ADD COLUMN expires_at timestamptz;
COMMENT ON COLUMN headgate.app_key.expires_at IS 'When a key that is being rotated out stops working; null: never by itself.';

ALTER TABLE headgate.consent
    ADD COLUMN amends   uuid,
    ADD COLUMN revision bigint NOT NULL DEFAULT 1;
CREATE INDEX consent_history ON headgate.consent (practice_number, granted_at DESC, consent_id);
COMMENT ON TABLE headgate.consent IS 'A practice''s permission for an app. Revoking or amending ends a row, a new grant or the amended consent adds one: the rows are the history.';
COMMENT ON COLUMN headgate.consent.amends IS 'The consent whose place it took.';

ALTER TABLE headgate.patient_group
    ADD COLUMN revision           bigint NOT NULL DEFAULT 1,
    ADD COLUMN members_changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN matched_at         timestamptz,
    ADD COLUMN matched_known      bigint,
    ADD COLUMN matched_of         bigint;
COMMENT ON COLUMN headgate.patient_group.matched_known IS 'How many of its members the source had at matched_at, of matched_of.';

-------------------------------------------------------------------------------------------- exports

ALTER TABLE headgate.export
    ADD COLUMN accepted_under    uuid,
    ADD COLUMN links_first_at    timestamptz,
    ADD COLUMN links_last_at     timestamptz,
    ADD COLUMN links_times       bigint NOT NULL DEFAULT 0,
    ADD COLUMN download_first_at timestamptz,
    ADD COLUMN download_last_at  timestamptz,
    ADD COLUMN download_times    bigint NOT NULL DEFAULT 0;
UPDATE headgate.export SET accepted_under = consent_id;
ALTER TABLE headgate.export ALTER COLUMN accepted_under SET NOT NULL;
COMMENT ON COLUMN headgate.export.accepted_under IS 'The consent that it was kicked off under, for ever; consent_id is the one that it goes on under when that one is amended.';
COMMENT ON COLUMN headgate.export.links_times IS 'How often links to its files were handed out: from then on the practice''s data count as disclosed.';
COMMENT ON COLUMN headgate.export.download_times IS 'How often a file was fetched with the access token.';
CREATE INDEX export_by_consent ON headgate.export (practice_number, consent_id);
COMMENT ON TABLE headgate.export_member IS 'The cohort of an export of a group or of named patients, fixed in the transaction that fixes its transactionTime. Kept where anything was disclosed: whose data went out must be answerable for years.';

-------------------------------------------------------------------------------------------- tokens

-- Keys were stored in the clear. Clients get a new token when theirs is refused.
DELETE FROM headgate.signing_key;
ALTER TABLE headgate.signing_key DROP COLUMN private_der;
ALTER TABLE headgate.signing_key RENAME COLUMN retired_at TO verifies_until;
ALTER TABLE headgate.signing_key
    ADD COLUMN sealed     bytea NOT NULL,
    ADD COLUMN signs_from timestamptz NOT NULL DEFAULT clock_timestamp();
COMMENT ON TABLE headgate.signing_key IS 'Keys of the access tokens (RSA, PKCS#8, encrypted). Of those whose time to sign has come the newest signs; all verify until verifies_until.';

CREATE TABLE headgate.revoked_token (
    jti        text PRIMARY KEY CHECK (length(jti) <= 255),
    client_id  text NOT NULL REFERENCES headgate.app,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX revoked_token_expired ON headgate.revoked_token (expires_at);
COMMENT ON TABLE headgate.revoked_token IS 'Access tokens that their clients gave back before they expired.';

CREATE TABLE headgate.assertion_refusal (
    client_id   text NOT NULL REFERENCES headgate.app,
    reason      text NOT NULL,
    description text NOT NULL,
    occurrences bigint NOT NULL,
    first_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    kid         text,
    address     text,
    PRIMARY KEY (client_id, reason)
);
COMMENT ON TABLE headgate.assertion_refusal IS 'Why assertions of an app were refused, counted by reason, for its vendor. Nothing here proves that the app sent them.';

-------------------------------------------------------------------------------------------- upkeep

CREATE TABLE headgate.idempotency (
    subject     text NOT NULL,
    key         text NOT NULL CHECK (length(key) <= 255),
    fingerprint bytea NOT NULL,
    status      integer,
    headers     text,
    body        bytea,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subject, key)
);
CREATE INDEX idempotency_old ON headgate.idempotency (created_at);
COMMENT ON TABLE headgate.idempotency IS 'Deeds of the admin API that carried an Idempotency-Key, written in the transaction of the deed; the answer follows.';

CREATE INDEX audit_event_client ON headgate.audit_event (client_id, at) WHERE client_id IS NOT NULL;
CREATE INDEX audit_event_export ON headgate.audit_event (export_id) WHERE export_id IS NOT NULL;

CREATE TABLE headgate.audit_seal (
    seal_number bigint PRIMARY KEY CHECK (seal_number > 0),
    first_id    bigint NOT NULL,
    last_id     bigint NOT NULL CHECK (last_id >= first_id),
    events      bigint NOT NULL,
    digest      bytea NOT NULL,
    previous    bytea NOT NULL,
    hash        bytea NOT NULL,
    key_id      text NOT NULL,
    mac         bytea NOT NULL,
    sealed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE headgate.audit_seal IS 'Batches of audit events that can no longer change unnoticed: each hash covers the events of the batch and the hash before it, each mac is made with a key that is not in this database.';

CREATE TABLE headgate.audit_mark (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_id     bigint NOT NULL,
    next_xid    xid8 NOT NULL,
    marked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    seal_number bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE headgate.audit_mark IS 'Events up to last_id are sealed once every transaction that was open at marked_at has ended: until then one of them may still add an event below it.';
COMMENT ON COLUMN headgate.audit_mark.seal_number IS 'The last seal: seals that vanish from the end of the chain are missed.';

-- The digest of the events between two ids, each written as JSON that neither a time zone nor a locale changes.
CREATE FUNCTION headgate.audit_digest(first bigint, last bigint, OUT events bigint, OUT digest bytea)
LANGUAGE sql STABLE AS $$
    SELECT count(*),
           sha256(coalesce(string_agg(sha256(convert_to(jsonb_build_array(
                      audit_id, (extract(epoch FROM at) * 1000000)::bigint, actor, action, practice_number,
                      client_id, export_id, detail)::text, 'UTF8')), ''::bytea ORDER BY audit_id), ''::bytea))
      FROM headgate.audit_event WHERE audit_id BETWEEN first AND last
$$;

INSERT INTO headgate.maintenance (task, every_s) VALUES ('forget', 600);

-- Row-level security: which practice a transaction of the API is for (`migrations/roles.sql` has the policies).
CREATE FUNCTION headgate.may_see(practice bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT practice = nullif(current_setting('headgate.practice', true), '')::bigint
        OR current_setting('headgate.scope', true) = 'all'
$$;

-- The one meaning of "may": the consents in force. Statements that decide about authority ask this view.
CREATE VIEW headgate.authority WITH (security_invoker = true) AS
    SELECT c.practice_number, c.consent_id, c.client_id, c.scopes, a.scopes AS app_scopes, c.group_ids, c.expires_at
      FROM headgate.consent c
      JOIN headgate.app a ON a.client_id = c.client_id
      JOIN headgate.vendor v ON v.vendor_id = a.vendor_id
      JOIN headgate.practice p ON p.practice_number = c.practice_number
     WHERE c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > clock_timestamp())
       AND a.suspended_at IS NULL AND v.suspended_at IS NULL AND p.suspended_at IS NULL;
COMMENT ON VIEW headgate.authority IS 'The consents in force: neither revoked nor expired, of a practice, an app and a vendor of which none is suspended.';

CREATE INDEX patient_group_member_page ON headgate.patient_group_member (practice_number, group_id, md5(patient_id))
    WHERE member_until IS NULL;
