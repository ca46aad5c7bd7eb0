-- What a kick-off can ask for: filters, elements, patients, associated data, partial manifests, deletions.

ALTER TABLE headgate.practice ADD COLUMN source_history_since timestamptz;
COMMENT ON COLUMN headgate.practice.source_history_since IS 'Since when its source remembers deletions and memberships; null: since ever.';

ALTER TABLE headgate.export
    ADD COLUMN selection  jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN delivery   jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN deleted    boolean NOT NULL DEFAULT false,
    ADD COLUMN of_patients boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN headgate.export.selection IS 'Which resources of the types, and what of them (domain::request::Selection).';
COMMENT ON COLUMN headgate.export.delivery IS 'How the client wants it delivered (domain::request::Delivery).';
COMMENT ON COLUMN headgate.export.deleted IS 'Whether deletions are told: there is a since, and the source remembers so far back.';
COMMENT ON COLUMN headgate.export.of_patients IS 'Whether the request named patients: export_patient has them.';

CREATE TABLE headgate.export_patient (
    practice_number bigint NOT NULL,
    export_id       text NOT NULL,
    patient_id      text COLLATE "C" NOT NULL,
    PRIMARY KEY (practice_number, export_id, patient_id),
    FOREIGN KEY (practice_number, export_id) REFERENCES headgate.export
);
COMMENT ON TABLE headgate.export_patient IS 'The patients that a request named. Those who are not in export_member in the end are told in the error file.';

ALTER TABLE headgate.export_member ADD COLUMN former boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN headgate.export_member.former IS 'Left after _since: nothing is exported, but what was deleted of theirs is told.';

ALTER TABLE headgate.export_stream DROP CONSTRAINT export_stream_access_path_check;
ALTER TABLE headgate.export_stream ADD CONSTRAINT export_stream_access_path_check
    CHECK (access_path IN ('all', 'cohort', 'reference'));

CREATE TABLE headgate.export_reference (
    practice_number bigint NOT NULL,
    export_id       text NOT NULL,
    resource_type   text NOT NULL,
    id              text COLLATE "C" NOT NULL,
    planned         boolean NOT NULL DEFAULT false,
    PRIMARY KEY (practice_number, export_id, resource_type, id),
    FOREIGN KEY (practice_number, export_id) REFERENCES headgate.export
);
CREATE INDEX export_reference_open ON headgate.export_reference (practice_number, export_id, resource_type, id) WHERE NOT planned;
COMMENT ON TABLE headgate.export_reference IS 'Resources that exported ones refer to, of types that are exported by reference. Written with the publication of the file that refers to them.';

ALTER TABLE headgate.file ADD COLUMN manifest_page integer CHECK (manifest_page > 0);
CREATE INDEX file_manifest_page ON headgate.file (practice_number, export_id, manifest_page);
COMMENT ON COLUMN headgate.file.manifest_page IS 'The page of the partial manifest that lists it: a page that was shown never changes.';
COMMENT ON COLUMN headgate.file.bytes IS 'Length of the NDJSON, as its sha256 is of the NDJSON; the object may be compressed.';
COMMENT ON COLUMN headgate.file.crc32 IS 'CRC32 of the object as it is stored.';

CREATE TABLE headgate.source_group (
    practice_number bigint NOT NULL REFERENCES headgate.practice,
    group_id        text NOT NULL CHECK (group_id ~ '^[A-Za-z0-9.-]{1,64}$'),
    member_count    bigint NOT NULL,
    PRIMARY KEY (practice_number, group_id)
);
COMMENT ON TABLE headgate.source_group IS 'Groups that a practice''s source defines, as the refresh step found them; a group of the same id in patient_group goes before.';
