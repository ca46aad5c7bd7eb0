-- Only additions, so that programs of schema version 8 go on working while this version is rolled out.

ALTER TABLE headgate.export ADD COLUMN source_tombstones boolean;
COMMENT ON COLUMN headgate.export.source_tombstones IS 'Whether the source kept tombstones when the export was planned; null: unknown, or not planned.';

-- What a client lists of its exports, newest first: not those of all years.
CREATE INDEX export_of_client ON headgate.export (practice_number, client_id, accepted_at DESC, export_id)
    WHERE state IN ('accepted', 'planning', 'running', 'finishing', 'completed', 'failed');
