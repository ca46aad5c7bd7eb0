-- Attachments that are had by URL: the content of each is an object of its own, which no manifest lists.

ALTER TABLE headgate.file DROP CONSTRAINT file_kind_check;
ALTER TABLE headgate.file ADD CONSTRAINT file_kind_check
    CHECK (kind IN ('output', 'deleted', 'error', 'attachment'));
ALTER TABLE headgate.file
    ADD COLUMN attachment_id text COLLATE "C",
    ADD CHECK ((kind = 'attachment') = (attachment_id IS NOT NULL));
-- Found by its id among all exports of a practice, and once in each.
CREATE UNIQUE INDEX file_attachment ON headgate.file (practice_number, attachment_id, export_id)
    WHERE kind = 'attachment';
COMMENT ON COLUMN headgate.file.attachment_id IS 'Of the content of an attachment: the id that its URL ends with, [base]/Binary/[id]. Its row goes with the objects of the export.';
COMMENT ON TABLE headgate.file IS 'A published object: NDJSON that a manifest lists, or the content of an attachment. The unit of publication: an object without a row does not exist.';
COMMENT ON COLUMN headgate.export_stream.resource_type IS 'The type of its resources; Binary: the contents of attachments to which exported resources lead by URL.';
