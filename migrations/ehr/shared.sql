-- Turns an installed reference EHR (0001 to 0003) into one that many practices share, kept apart by row-level security.
--
-- A session belongs to the practice named in its setting app.practice: it sees and writes that practice's rows only, and
-- without the setting it sees none. Rows that are there already become those of the practice set while this file runs,
-- which takes a superuser.
--
-- Policies bind everybody but superusers and roles with BYPASSRLS. So the EHR gets an owner that is neither, and FORCE
-- binds the owner as well. The views read their tables with that owner's rights: the reading role needs nothing but
-- SELECT on the views, cannot name a table, and sees no row as long as it sets nothing. (Views with security_invoker
-- would do too, but need PostgreSQL 15 and rights on every table for the reader.) Whoever writes must be bound as well:
-- the triggers leave it to the policies whose rows they find.
--
-- The setting is the session's own word for who it is. Policies keep an engine that says it from mixing practices up;
-- they do not stop one who may run any SQL from saying something else.

------------------------------------------------------------------------------------------------ whose row

DO $$
DECLARE
    tab regclass;
BEGIN
    FOR tab IN SELECT oid FROM pg_class WHERE relnamespace = 'ehr'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN practice_number bigint NOT NULL
                        DEFAULT current_setting(''app.practice'')::bigint', tab);
    END LOOP;
END $$;

------------------------------------------------------------------------------------------------ keys and indexes

-- Every key becomes one within the practice. Numbers such as the MRN may then occur in each of them; no foreign key can
-- point into another practice (they are checked without regard to policies); and the primary key, by which exports of
-- all patients walk, leads with what every query is bound to.
DO $$
DECLARE
    defs text[] := ARRAY(
        SELECT ARRAY[conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)]
        FROM pg_constraint
        WHERE connamespace = 'ehr'::regnamespace AND contype IN ('p', 'u', 'f')
        ORDER BY contype = 'f');    -- a foreign key needs the key that it points to
    def  text[];
BEGIN
    FOR i IN REVERSE array_length(defs, 1) .. 1 LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %s', defs[i][1], defs[i][2]);
    END LOOP;
    FOREACH def SLICE 1 IN ARRAY defs LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %s %s', def[1], def[2], replace(def[3], '(', '(practice_number, '));
    END LOOP;
END $$;

-- The other indexes lead with the practice too.
DO $$
DECLARE
    i record;
BEGIN
    FOR i IN
        SELECT indexrelid::regclass AS name, pg_get_indexdef(indexrelid) AS def
        FROM pg_index
        WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'ehr'::regnamespace)
          AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    LOOP
        EXECUTE format('DROP INDEX %s', i.name);
        EXECUTE replace(i.def, 'btree (', 'btree (practice_number, ');
    END LOOP;
END $$;

-- Under a policy an index serves only conditions whose functions are known not to leak what they look at, lest they
-- see rows that the policy hides. The cast of a uuid to text, which exports of groups go by, does not: it can neither
-- fail nor tell. PostgreSQL does not say so by itself, and a dump does not carry it: say it again after a restore.
ALTER FUNCTION pg_catalog.uuid_out(uuid) LEAKPROOF;
ALTER FUNCTION pg_catalog.textin(cstring) LEAKPROOF;

------------------------------------------------------------------------------------------------ owner and policies

DO $$
DECLARE
    obj text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reference_ehr_owner') THEN
        CREATE ROLE reference_ehr_owner NOLOGIN;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'reference_ehr_owner' AND (rolsuper OR rolbypassrls)) THEN
        RAISE EXCEPTION 'reference_ehr_owner must not be exempt from policies';
    END IF;

    FOR obj IN
        SELECT format('SCHEMA %I', nspname) FROM pg_namespace
        WHERE oid IN ('ehr'::regnamespace, 'fhir_export'::regnamespace)
        UNION ALL
        SELECT format('TABLE %s', oid::regclass) FROM pg_class     -- views too
        WHERE relnamespace IN ('ehr'::regnamespace, 'fhir_export'::regnamespace) AND relkind IN ('r', 'v')
        UNION ALL
        SELECT format('FUNCTION %s', oid::regprocedure) FROM pg_proc
        WHERE pronamespace IN ('ehr'::regnamespace, 'fhir_export'::regnamespace)
    LOOP
        EXECUTE format('ALTER %s OWNER TO reference_ehr_owner', obj);
    END LOOP;
END $$;

DO $$
DECLARE
    tab regclass;
BEGIN
    FOR tab IN SELECT oid FROM pg_class WHERE relnamespace = 'ehr'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tab);
        -- A setting that was local to an earlier transaction is an empty string, not null.
        EXECUTE format('CREATE POLICY practice ON %s
                        USING (practice_number = nullif(current_setting(''app.practice'', true), '''')::bigint)', tab);
    END LOOP;
END $$;
