-- The control database of Headgate: everything but the patients' data.
--
-- Practice-owned tables lead with practice_number in every key: a practice is an identity, not a filter.
-- Times are this database's clock. Leases are compared with clock_timestamp(), never with a worker's clock.

CREATE SCHEMA headgate;
COMMENT ON SCHEMA headgate IS 'The engine''s own tables: the truth about practices, apps, consents and exports.';

------------------------------------------------------------------------------------------------ who

CREATE TABLE headgate.practice (
    practice_number         bigint PRIMARY KEY CHECK (practice_number > 0),
    slug                    text NOT NULL UNIQUE,
    name                    text NOT NULL,
    base_url                text NOT NULL UNIQUE,
    source_dsn_ref          text NOT NULL CHECK (source_dsn_ref ~ '^(env|file):.+'),
    source_schema           text NOT NULL DEFAULT 'fhir_export',
    source_settings         jsonb NOT NULL DEFAULT '{}',
    late_commit_allowance_s integer CHECK (late_commit_allowance_s >= 0),
    s3_prefix               text NOT NULL UNIQUE,
    options                 jsonb NOT NULL DEFAULT '{}',
    suspended_at            timestamptz,
    created_at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at              timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE headgate.practice IS 'A tenant: one medical practice, its source and its place in the bucket.';
COMMENT ON COLUMN headgate.practice.base_url IS 'Public FHIR base URL without trailing slash; every generated URL begins with it.';
COMMENT ON COLUMN headgate.practice.source_dsn_ref IS 'Where workers find the DSN of the EHR database: env:NAME or file:/path. Never the DSN itself.';
COMMENT ON COLUMN headgate.practice.source_settings IS 'Session settings for every read transaction, e.g. {"app.practice": "100491"}.';
COMMENT ON COLUMN headgate.practice.late_commit_allowance_s IS 'Seconds that a stamp of this source may lie before its commit; required on a replica.';
COMMENT ON COLUMN headgate.practice.options IS 'Switches of the practice (domain::practice::PracticeOptions).';

CREATE TABLE headgate.vendor (
    vendor_id     uuid PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    contact_email text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE headgate.vendor IS 'A third party that registers apps.';

CREATE TABLE headgate.app (
    client_id        text PRIMARY KEY CHECK (client_id ~ '^fhir[0-9a-f]{50}$'),
    vendor_id        uuid NOT NULL REFERENCES headgate.vendor,
    name             text NOT NULL,
    scopes           text NOT NULL,
    security_contact text NOT NULL,
    suspended_at     timestamptz,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX app_vendor ON headgate.app (vendor_id);
COMMENT ON TABLE headgate.app IS 'A registered client. Its status is derived: disabled until a practice consents, enabled while one does, suspended by an operator.';
COMMENT ON COLUMN headgate.app.scopes IS 'The most it may ever be granted: readable system/ scopes.';

CREATE TABLE headgate.app_key (
    client_id  text NOT NULL REFERENCES headgate.app,
    kid        text NOT NULL,
    jwk        jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz,
    PRIMARY KEY (client_id, kid)
);
COMMENT ON TABLE headgate.app_key IS 'Public keys of an app''s inline JWKS.';

CREATE TABLE headgate.consent (
    practice_number bigint NOT NULL REFERENCES headgate.practice,
    consent_id      uuid NOT NULL,
    client_id       text NOT NULL REFERENCES headgate.app,
    scopes          text NOT NULL,
    group_ids       text[],
    granted_by      text NOT NULL,
    granted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at      timestamptz,
    revoked_by      text,
    revoked_at      timestamptz,
    revoke_reason   text,
    PRIMARY KEY (practice_number, consent_id),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
CREATE UNIQUE INDEX consent_one_in_force ON headgate.consent (practice_number, client_id) WHERE revoked_at IS NULL;
CREATE INDEX consent_client ON headgate.consent (client_id) WHERE revoked_at IS NULL;
COMMENT ON TABLE headgate.consent IS 'A practice''s permission for an app. Revoking ends a row, a new grant adds one: the rows are the history.';
COMMENT ON COLUMN headgate.consent.group_ids IS 'The groups that may be exported; null: all, and the Patient and system levels.';

CREATE TABLE headgate.patient_group (
    practice_number bigint NOT NULL REFERENCES headgate.practice,
    group_id        text NOT NULL CHECK (group_id ~ '^[A-Za-z0-9.-]{1,64}$'),
    name            text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (practice_number, group_id)
);
COMMENT ON TABLE headgate.patient_group IS 'A named set of patients. Writers of members lock this row first (FOR UPDATE) and read the clock after.';

CREATE TABLE headgate.patient_group_member (
    practice_number bigint NOT NULL,
    group_id        text NOT NULL,
    patient_id      text COLLATE "C" NOT NULL CHECK (patient_id ~ '^[A-Za-z0-9.-]{1,64}$'),
    member_since    timestamptz NOT NULL,
    member_until    timestamptz,
    PRIMARY KEY (practice_number, group_id, patient_id, member_since),
    FOREIGN KEY (practice_number, group_id) REFERENCES headgate.patient_group,
    CHECK (member_until >= member_since)
);
CREATE UNIQUE INDEX patient_group_member_now ON headgate.patient_group_member (practice_number, group_id, patient_id)
    WHERE member_until IS NULL;
COMMENT ON TABLE headgate.patient_group_member IS 'Membership over time. Leaving sets member_until; rows are never deleted.';

-------------------------------------------------------------------------------------------- exports

CREATE TABLE headgate.export (
    practice_number  bigint NOT NULL REFERENCES headgate.practice,
    export_id        text NOT NULL CHECK (export_id ~ '^[0-9a-f]{32}$'),
    client_id        text NOT NULL REFERENCES headgate.app,
    consent_id       uuid NOT NULL,
    level            text NOT NULL CHECK (level IN ('system', 'patient', 'group')),
    group_id         text,
    request_url      text NOT NULL,
    since            timestamptz,
    types            text[] NOT NULL,
    state            text NOT NULL DEFAULT 'accepted' CHECK (state IN (
                         'accepted', 'planning', 'running', 'finishing', 'completed',
                         'expired', 'cancelled', 'revoked', 'failed')),
    transaction_time timestamptz,
    source_replica   boolean,
    source_lsn       text,
    accepted_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    planned_at       timestamptz,
    completed_at     timestamptz,
    ended_at         timestamptz,
    expires_at       timestamptz,
    purged_at        timestamptz,
    quiet_after      timestamptz,
    failure          text,
    lease_step       text CHECK (lease_step IN ('plan', 'finish', 'purge')),
    lease_token      uuid,
    lease_expires_at timestamptz,
    lease_worker     uuid,
    fence            bigint NOT NULL DEFAULT 0,
    attempts         integer NOT NULL DEFAULT 0,
    retry_at         timestamptz,
    rung_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (practice_number, export_id),
    FOREIGN KEY (practice_number, consent_id) REFERENCES headgate.consent,
    CHECK ((level = 'group') = (group_id IS NOT NULL)),
    CHECK (state IN ('accepted', 'cancelled', 'revoked', 'failed') OR transaction_time IS NOT NULL),
    CHECK ((lease_token IS NULL) = (lease_expires_at IS NULL))
);
CREATE INDEX export_live ON headgate.export (practice_number, client_id)
    WHERE state IN ('accepted', 'planning', 'running', 'finishing');
CREATE INDEX export_to_purge ON headgate.export (ended_at)
    WHERE state IN ('expired', 'cancelled', 'revoked', 'failed') AND purged_at IS NULL;
CREATE INDEX export_to_expire ON headgate.export (expires_at) WHERE state = 'completed';
CREATE INDEX export_by_time ON headgate.export (practice_number, accepted_at);
COMMENT ON TABLE headgate.export IS 'One kick-off and all that follows. States: domain::export. The lease columns hold the lease of its plan, finish or purge step.';
COMMENT ON COLUMN headgate.export.transaction_time IS 'Everything committed with a stamp up to here is in the output; written once, never moved.';
COMMENT ON COLUMN headgate.export.source_lsn IS 'Every connection that reads for this export must have replayed at least this far.';
COMMENT ON COLUMN headgate.export.quiet_after IS 'When the lease of a step that an ending took away would have run out: objects may appear until then.';
COMMENT ON COLUMN headgate.export.attempts IS 'Acquisitions of the present step without success.';
COMMENT ON COLUMN headgate.export.rung_at IS 'When a doorbell was last rung for it; the reconciler rings again.';

CREATE TABLE headgate.export_member (
    practice_number bigint NOT NULL,
    export_id       text NOT NULL,
    patient_id      text COLLATE "C" NOT NULL,
    full_history    boolean NOT NULL,
    PRIMARY KEY (practice_number, export_id, patient_id),
    FOREIGN KEY (practice_number, export_id) REFERENCES headgate.export
);
COMMENT ON TABLE headgate.export_member IS 'The cohort of a Group export, fixed in the transaction that fixes its transactionTime.';
COMMENT ON COLUMN headgate.export_member.full_history IS 'Joined after _since: gets everything, not only what changed.';

CREATE TABLE headgate.export_stream (
    practice_number bigint NOT NULL,
    export_id       text NOT NULL,
    stream          smallint NOT NULL CHECK (stream > 0),
    resource_type   text NOT NULL,
    relation        jsonb NOT NULL,
    access_path     text NOT NULL CHECK (access_path IN ('all', 'cohort')),
    plan_cursor     jsonb,
    planned_rows    bigint NOT NULL DEFAULT 0,
    next_shard      integer NOT NULL DEFAULT 1,
    next_number     integer NOT NULL DEFAULT 1,
    planned_at      timestamptz,
    PRIMARY KEY (practice_number, export_id, stream),
    FOREIGN KEY (practice_number, export_id) REFERENCES headgate.export
);
COMMENT ON TABLE headgate.export_stream IS 'One relation of one resource type in an export, and how far planning has walked it.';
COMMENT ON COLUMN headgate.export_stream.plan_cursor IS 'Where the walk goes on: the last boundary, or the last planned member.';

CREATE TABLE headgate.shard (
    practice_number  bigint NOT NULL,
    export_id        text NOT NULL,
    stream           smallint NOT NULL,
    shard            integer NOT NULL CHECK (shard > 0),
    slice            jsonb NOT NULL,
    planned_rows     bigint NOT NULL,
    first_number     integer NOT NULL,
    number_count     integer NOT NULL CHECK (number_count > 0),
    state            text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'leased', 'done', 'quarantined')),
    cursor           jsonb,
    resources        bigint NOT NULL DEFAULT 0,
    bytes            bigint NOT NULL DEFAULT 0,
    files            integer NOT NULL DEFAULT 0,
    lease_token      uuid,
    lease_expires_at timestamptz,
    lease_worker     uuid,
    fence            bigint NOT NULL DEFAULT 0,
    attempts         integer NOT NULL DEFAULT 0,
    acquisitions     integer NOT NULL DEFAULT 0,
    retry_at         timestamptz,
    failure          text,
    done_at          timestamptz,
    PRIMARY KEY (practice_number, export_id, stream, shard),
    FOREIGN KEY (practice_number, export_id, stream) REFERENCES headgate.export_stream,
    CHECK ((state = 'leased') = (lease_token IS NOT NULL)),
    CHECK ((lease_token IS NULL) = (lease_expires_at IS NULL))
);
CREATE INDEX shard_open ON headgate.shard (practice_number, export_id, stream, shard) WHERE state IN ('ready', 'leased');
CREATE INDEX shard_leased ON headgate.shard (lease_token) WHERE state = 'leased';
COMMENT ON TABLE headgate.shard IS 'A contiguous slice of a stream: the unit of work. ready -> leased -> done, back to ready, or quarantined.';
COMMENT ON COLUMN headgate.shard.cursor IS 'Position and file numbering after the last published file; null: from the start.';
COMMENT ON COLUMN headgate.shard.fence IS 'Grows with every acquisition; part of the object keys from the second on.';
COMMENT ON COLUMN headgate.shard.attempts IS 'Acquisitions since the last publication; capped.';
COMMENT ON COLUMN headgate.shard.acquisitions IS 'All acquisitions, for people.';

CREATE TABLE headgate.file (
    practice_number bigint NOT NULL,
    export_id       text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('output', 'deleted', 'error')),
    resource_type   text NOT NULL,
    number          integer NOT NULL CHECK (number > 0),
    part            integer NOT NULL CHECK (part > 0),
    object_key      text NOT NULL,
    resources       bigint NOT NULL CHECK (resources > 0),
    bytes           bigint NOT NULL CHECK (bytes > 0),
    sha256          text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    crc32           bigint NOT NULL,
    fence           bigint NOT NULL,
    published_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (practice_number, export_id, kind, resource_type, number, part),
    UNIQUE (practice_number, object_key),
    FOREIGN KEY (practice_number, export_id) REFERENCES headgate.export
);
COMMENT ON TABLE headgate.file IS 'A published NDJSON object: the unit of publication. An object without a row does not exist.';

CREATE TABLE headgate.problem (
    practice_number bigint NOT NULL,
    export_id       text NOT NULL,
    stream          smallint NOT NULL,
    shard           integer NOT NULL,
    reason          text NOT NULL,
    diagnostics     text NOT NULL,
    occurrences     bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (practice_number, export_id, stream, shard, reason),
    FOREIGN KEY (practice_number, export_id) REFERENCES headgate.export
);
COMMENT ON TABLE headgate.problem IS 'What becomes an OperationOutcome in the error file: rows that could not be exported (counted by shard and reason), and parts of the request that were ignored (stream 0). Never any content.';

-------------------------------------------------------------------------------------------- tokens

CREATE TABLE headgate.assertion_replay (
    client_id  text NOT NULL,
    jti        text NOT NULL CHECK (length(jti) <= 255),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti)
);
CREATE INDEX assertion_replay_expired ON headgate.assertion_replay (expires_at);
COMMENT ON TABLE headgate.assertion_replay IS 'Used assertion ids: one insert, committed before the token is issued, makes each single-use.';

CREATE TABLE headgate.signing_key (
    kid         text PRIMARY KEY,
    private_der bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at  timestamptz
);
COMMENT ON TABLE headgate.signing_key IS 'Keys of the access tokens (RSA, PKCS#8). The newest signs; all that are not retired verify.';

------------------------------------------------------------------------------------------ upkeep

CREATE TABLE headgate.source_catalog (
    practice_number  bigint PRIMARY KEY REFERENCES headgate.practice,
    catalog          jsonb,
    refreshed_at     timestamptz,
    requested_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    failure          text,
    lease_token      uuid,
    lease_expires_at timestamptz,
    lease_worker     uuid,
    attempts         integer NOT NULL DEFAULT 0,
    retry_at         timestamptz
);
COMMENT ON TABLE headgate.source_catalog IS 'What the worker''s refresh step found in a practice''s source. The API reads this and never connects to an EHR.';

CREATE TABLE headgate.maintenance (
    task             text PRIMARY KEY,
    every_s          integer NOT NULL CHECK (every_s > 0),
    due_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_token      uuid,
    lease_expires_at timestamptz,
    last_run_at      timestamptz,
    last_result      text
);
COMMENT ON TABLE headgate.maintenance IS 'Housekeeping: each row is run by one worker at a time, when due.';
INSERT INTO headgate.maintenance (task, every_s) VALUES
    ('expire', 60), ('reconcile', 5), ('replay', 60), ('queue', 60), ('refresh', 300), ('sweep', 86400);

CREATE TABLE headgate.audit_event (
    audit_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor           text NOT NULL,
    action          text NOT NULL,
    practice_number bigint,
    client_id       text,
    export_id       text,
    detail          jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_event_practice ON headgate.audit_event (practice_number, at);
COMMENT ON TABLE headgate.audit_event IS 'Who did what, written in the transaction of the deed. Facts without patients'' data.';
