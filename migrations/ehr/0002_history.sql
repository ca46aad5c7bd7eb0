-- What keeps the reference EHR's promises to whoever exports it: stamps, tombstones, authors.
--
-- * touch: every write of a main row stamps it with this database's clock.
-- * bump_parent: writing a child row stamps its parent.
-- * keep_history: what was there to export and is no more leaves a tombstone, what comes back takes it away;
--   every write is logged, and the record's author (its Provenance) is kept.
--
-- All is done by triggers, in the transaction that writes, whoever writes. Who that is, the application says in the
-- setting app.provider; without it the provider named by the row itself counts.
--
-- A bulk load goes without triggers (session_replication_role = replica, or ALTER TABLE … DISABLE TRIGGER USER) and
-- fills record_author itself.

------------------------------------------------------------------------------------------------ stamps

CREATE FUNCTION ehr.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'the id of a record never changes (%.%)', TG_TABLE_NAME, OLD.id;
    END IF;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

-- Arguments: the parent's table, the child's column with the parent's id. A child that moves stamps both parents.
CREATE FUNCTION ehr.bump_parent() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    parents uuid[] := ARRAY[to_jsonb(OLD) ->> TG_ARGV[1], to_jsonb(NEW) ->> TG_ARGV[1]];
BEGIN
    EXECUTE format('UPDATE %I.%I SET updated_at = clock_timestamp() WHERE id = ANY ($1)', TG_TABLE_SCHEMA, TG_ARGV[0])
        USING parents;
    RETURN NULL;
END $$;

------------------------------------------------------------------------------------------------ tombstones and authors

-- The resources that a row gives, as references: {Observation/<id>-bp, Observation/<id>-hr}.
-- A rule is the resource type, with the suffix of the id if it has one, and columns: the resource is there while one
-- of the columns is set (neither null nor false). Without columns it is there while the row is.
CREATE FUNCTION ehr.resources_of(record jsonb, rules text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg(type || '/' || (record ->> 'id') || suffix), '{}')
    FROM unnest(rules) AS rule,
         string_to_array(rule, ' ') AS word,
         split_part(word[1], '-', 1) AS type,
         substr(word[1], length(type) + 1) AS suffix
    WHERE record IS NOT NULL
      AND record ->> 'deleted' IS DISTINCT FROM 'true'
      AND (cardinality(word) = 1
           OR EXISTS (SELECT FROM unnest(word[2:]) AS name WHERE coalesce(record ->> name, 'false') <> 'false'))
$$;

-- The provider who answers for a write.
CREATE FUNCTION ehr.writer(record jsonb) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('app.provider', true), ''),
                    record ->> 'author_id', record ->> 'provider_id', record ->> 'recorder_id',
                    record ->> 'prescriber_id', record ->> 'requester_id', record ->> 'ordering_id',
                    record ->> 'performer_id', record ->> 'taken_by_id', record ->> 'collector_id',
                    record ->> 'pcp_id')::uuid
$$;

-- Arguments: the rules of ehr.resources_of for the table.
CREATE FUNCTION ehr.keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    old_record  jsonb  := to_jsonb(OLD);
    new_record  jsonb  := to_jsonb(NEW);
    old_patient text   := coalesce(old_record ->> 'patient_id', CASE TG_ARGV[0] WHEN 'Patient' THEN old_record ->> 'id' END);
    new_patient text   := coalesce(new_record ->> 'patient_id', CASE TG_ARGV[0] WHEN 'Patient' THEN new_record ->> 'id' END);
    gone        text[] := ehr.resources_of(old_record, TG_ARGV);
    present     text[] := ehr.resources_of(new_record, TG_ARGV);
    come        text[] := present;
BEGIN
    -- Nothing is written to a patient whom nobody sees; his records are another's now. An insert that has waited for
    -- the merge at its foreign key finds it here.
    IF new_patient IS DISTINCT FROM old_patient
       AND EXISTS (SELECT FROM ehr.patient WHERE id = new_patient::uuid AND merged_into_id IS NOT NULL) THEN
        RAISE EXCEPTION 'patient % has been merged into another one', new_patient;
    END IF;

    -- A row that changes hands is gone for one patient and new for the other; else only the difference counts.
    IF old_patient IS NOT DISTINCT FROM new_patient THEN
        come := ARRAY(SELECT unnest(present) EXCEPT SELECT unnest(gone));
        gone := ARRAY(SELECT unnest(gone) EXCEPT SELECT unnest(present));
    END IF;

    INSERT INTO ehr.deleted_record (resource_type, fhir_id, patient_fhir_id)
    SELECT split_part(reference, '/', 1), split_part(reference, '/', 2), old_patient
    FROM unnest(gone) AS reference;

    DELETE FROM ehr.deleted_record AS tombstone
    USING unnest(come) AS reference
    WHERE tombstone.resource_type = split_part(reference, '/', 1)
      AND tombstone.fhir_id = split_part(reference, '/', 2)
      AND tombstone.patient_fhir_id IS NOT DISTINCT FROM new_patient;

    IF coalesce(new_patient, old_patient) IS NOT NULL AND TG_TABLE_NAME <> 'record_author' THEN
        INSERT INTO ehr.audit_log (action, table_name, record_id, patient_id, provider_id)
        VALUES (lower(TG_OP), TG_TABLE_NAME, (coalesce(new_record, old_record) ->> 'id')::uuid,
                coalesce(new_patient, old_patient)::uuid, ehr.writer(coalesce(new_record, old_record)));
        PERFORM ehr.note_author((coalesce(new_record, old_record) ->> 'id')::uuid, new_record, new_patient::uuid, present);
    END IF;
    RETURN NULL;
END $$;

-- Notes who wrote a record last, or forgets it with the record. Two writers of a record wait for each other at the
-- record itself, so update-else-insert is safe here.
CREATE FUNCTION ehr.note_author(written uuid, record jsonb, patient uuid, present text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    practice uuid := coalesce(record ->> 'practice_id',
                              (SELECT min(id::text) FROM ehr.organization WHERE kind = 'practice'))::uuid;
BEGIN
    IF cardinality(present) = 0 THEN
        DELETE FROM ehr.record_author WHERE record_id = written;
        RETURN;
    END IF;
    UPDATE ehr.record_author
    SET patient_id = patient, targets = present, recorded_at = clock_timestamp(), provider_id = ehr.writer(record),
        practice_id = practice
    WHERE record_id = written;
    IF NOT FOUND THEN
        INSERT INTO ehr.record_author (record_id, patient_id, targets, recorded_at, provider_id, practice_id)
        VALUES (written, patient, present, clock_timestamp(), ehr.writer(record), practice);
    END IF;
END $$;

------------------------------------------------------------------------------------------------ which table is what

-- Every table that is exported, and what its rows are exported as.
DO $$
DECLARE
    t     text;
    rules text[];
BEGIN
    FOR t, rules IN VALUES
        ('organization',           ARRAY['Organization']),
        ('facility',               ARRAY['Location']),
        ('provider',               ARRAY['Practitioner']),
        ('provider_role',          ARRAY['PractitionerRole']),
        ('drug',                   ARRAY['Medication']),
        ('patient',                ARRAY['Patient']),
        ('related_person',         ARRAY['RelatedPerson']),
        ('coverage',               ARRAY['Coverage']),
        ('encounter',              ARRAY['Encounter']),
        ('problem',                ARRAY['Condition']),
        ('allergy',                ARRAY['AllergyIntolerance']),
        ('care_team',              ARRAY['CareTeam']),
        ('care_plan',              ARRAY['CarePlan']),
        ('goal',                   ARRAY['Goal']),
        ('service_order',          ARRAY['ServiceRequest']),
        ('specimen',               ARRAY['Specimen']),
        ('lab_report',             ARRAY['DiagnosticReport']),
        ('lab_result',             ARRAY['Observation']),
        ('vital_set',              ARRAY['Observation-bp systolic diastolic', 'Observation-hr heart_rate',
                                         'Observation-rr resp_rate', 'Observation-temp temp_c',
                                         'Observation-spo2 spo2', 'Observation-height height_cm',
                                         'Observation-weight weight_kg', 'Observation-bmi bmi',
                                         'Observation-head head_cm', 'Observation-bmi-pct bmi_pct',
                                         'Observation-head-pct head_pct', 'Observation-wfl-pct wfl_pct']),
        ('questionnaire_response', ARRAY['QuestionnaireResponse']),
        ('document',               ARRAY['DocumentReference', 'DiagnosticReport is_report']),
        ('finding',                ARRAY['Observation']),
        ('immunization',           ARRAY['Immunization']),
        ('prescription',           ARRAY['MedicationRequest']),
        ('dispense',               ARRAY['MedicationDispense']),
        ('procedure_done',         ARRAY['Procedure']),
        ('implant',                ARRAY['Device']),
        ('record_author',          ARRAY['Provenance'])
    LOOP
        EXECUTE format('CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON ehr.%I
                        FOR EACH ROW EXECUTE FUNCTION ehr.touch()', t);
        EXECUTE format('CREATE TRIGGER history AFTER INSERT OR UPDATE OR DELETE ON ehr.%I
                        FOR EACH ROW EXECUTE FUNCTION ehr.keep_history(%s)', t,
                       (SELECT string_agg(quote_literal(rule), ', ' ORDER BY n)
                        FROM unnest(rules) WITH ORDINALITY AS r (rule, n)));
    END LOOP;
END $$;

-- Every table whose rows show up in the resource of another row: child, parent, the child's column.
DO $$
DECLARE
    child  text;
    parent text;
    fk     text;
BEGIN
    FOR child, parent, fk IN VALUES
        ('patient_name',       'patient',                'patient_id'),
        ('patient_identifier', 'patient',                'patient_id'),
        ('patient_telecom',    'patient',                'patient_id'),
        ('patient_address',    'patient',                'patient_id'),
        ('patient_code',       'patient',                'patient_id'),
        ('allergy_reaction',   'allergy',                'allergy_id'),
        ('care_team_member',   'care_team',              'care_team_id'),
        ('goal',               'care_plan',              'care_plan_id'),
        ('lab_result',         'lab_report',             'lab_report_id'),
        ('questionnaire_item', 'questionnaire_response', 'questionnaire_response_id'),
        ('finding',            'finding',                'parent_id'),
        ('finding',            'document',               'document_id')
    LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON ehr.%I
                        FOR EACH ROW EXECUTE FUNCTION ehr.bump_parent(%L, %L)', 'bump_' || parent, child, parent, fk);
    END LOOP;
END $$;

------------------------------------------------------------------------------------------------ groups

-- Keeps memberships: joining and leaving are stamped here, and leaving is the only change there is.
CREATE FUNCTION ehr.keep_membership() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.added_at := clock_timestamp();
        NEW.removed_at := NULL;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' OR OLD.removed_at IS NOT NULL
       OR (NEW.group_id, NEW.patient_id, NEW.added_at) <> (OLD.group_id, OLD.patient_id, OLD.added_at) THEN
        RAISE EXCEPTION 'a membership is ended, once, by setting removed_at; never deleted or changed';
    END IF;
    NEW.removed_at := CASE WHEN NEW.removed_at IS NOT NULL THEN clock_timestamp() END;
    RETURN NEW;
END $$;

CREATE TRIGGER keep BEFORE INSERT OR UPDATE OR DELETE ON ehr.patient_group_member
    FOR EACH ROW EXECUTE FUNCTION ehr.keep_membership();

-- A patient who is gone is in no group any more.
CREATE FUNCTION ehr.leave_groups() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ehr.patient_group_member SET removed_at = clock_timestamp()
    WHERE patient_id = OLD.id AND removed_at IS NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER leave_groups AFTER DELETE ON ehr.patient
    FOR EACH ROW EXECUTE FUNCTION ehr.leave_groups();
CREATE TRIGGER leave_groups_when_merged AFTER UPDATE OF deleted ON ehr.patient
    FOR EACH ROW WHEN (NEW.deleted) EXECUTE FUNCTION ehr.leave_groups();

CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON ehr.patient_group
    FOR EACH ROW EXECUTE FUNCTION ehr.touch();

------------------------------------------------------------------------------------------------ merging duplicates

-- Makes one patient of two: the winner gets the loser's records, identifiers and groups; of the loser, what remains
-- is a row that nobody sees, its demographics and where it went. The triggers do what exports need: each record is
-- stamped and leaves a tombstone with the old patient, and so does the loser.
CREATE FUNCTION ehr.merge_patient(loser uuid, winner uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t text;
BEGIN
    -- Nothing can be added to either before this is committed. In key order, so that two merges cannot deadlock.
    PERFORM FROM ehr.patient WHERE id IN (loser, winner) AND NOT deleted ORDER BY id FOR UPDATE;
    IF loser = winner OR (SELECT count(*) FROM ehr.patient WHERE id IN (loser, winner) AND NOT deleted) <> 2 THEN
        RAISE EXCEPTION 'only two different patients can be merged, and neither may be merged already';
    END IF;

    FOREACH t IN ARRAY ARRAY[
        'related_person', 'coverage', 'encounter', 'problem', 'allergy', 'care_team', 'care_plan', 'goal',
        'service_order', 'specimen', 'lab_report', 'lab_result', 'vital_set', 'questionnaire_response', 'document',
        'finding', 'immunization', 'prescription', 'dispense', 'procedure_done', 'implant']
    LOOP
        -- As text, because that is what the index has.
        EXECUTE format('UPDATE ehr.%I SET patient_id = $2 WHERE patient_id::text = $1::text', t) USING loser, winner;
    END LOOP;

    UPDATE ehr.patient_identifier SET patient_id = winner WHERE patient_id = loser;

    INSERT INTO ehr.patient_group_member (group_id, patient_id)
    SELECT group_id, winner FROM ehr.patient_group_member
    WHERE patient_id = loser AND removed_at IS NULL
    ON CONFLICT DO NOTHING;

    UPDATE ehr.patient SET merged_into_id = winner, deleted = true WHERE id = loser;
END $$;

------------------------------------------------------------------------------------------------ the contract

CREATE SCHEMA IF NOT EXISTS fhir_export;

CREATE VIEW fhir_export.tombstone AS
SELECT resource_type, fhir_id AS id, patient_fhir_id AS patient_id, deleted_at
FROM ehr.deleted_record;

CREATE VIEW fhir_export.group_member AS
SELECT group_id::text   AS group_id,
       patient_id::text AS patient_id,
       added_at         AS member_since,
       removed_at       AS member_until
FROM ehr.patient_group_member;
