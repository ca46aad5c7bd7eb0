-- Mapping sets: how the columns of a practice's source become resources.

CREATE TABLE headgate.mapping_set (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    files      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE headgate.mapping_set IS 'Mapping documents of one kind of EHR; a set here goes before one of the same name in the workers'' folder.';
COMMENT ON COLUMN headgate.mapping_set.files IS 'File name and text of each: {"Patient.json": "…"}. Text, so that members keep their order.';

ALTER TABLE headgate.practice ADD COLUMN source_mapping text;
COMMENT ON COLUMN headgate.practice.source_mapping IS 'The mapping set of its source; null: the relations have finished resources.';

ALTER TABLE headgate.source_catalog ADD COLUMN changed_at timestamptz;
COMMENT ON COLUMN headgate.source_catalog.changed_at IS 'When types, columns or mapping were last found to be others than before: exports with an older _since do not tell the difference.';
