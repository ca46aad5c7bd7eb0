-- The two database roles that the API and the workers connect as, and what each may do. Applied by
-- `headgate migrate` after the migrations, as often as one likes. It is no numbered migration: roles belong to the
-- whole cluster, and an installation names its own. {api} and {worker} are replaced by the quoted names.
--
-- The API's transactions are for one practice (`SET LOCAL headgate.practice`), or expressly for all; what a
-- statement forgets in its WHERE, row-level security refuses. Workers are schedulers of all practices, and see none
-- of the identities: no keys, no tokens.

CREATE FUNCTION pg_temp.has_policy(of_table text, named text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'headgate' AND tablename = of_table AND policyname = named)
$$;

GRANT USAGE ON SCHEMA headgate, apalis TO {api}, {worker};
GRANT SELECT ON _sqlx_migrations TO {api}, {worker};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA headgate TO {api}, {worker};
REVOKE ALL ON ALL TABLES IN SCHEMA headgate FROM {api}, {worker};

-- Both: nobody but the owner may change or remove an audit event.
GRANT SELECT, INSERT ON headgate.audit_event TO {api}, {worker};

-- The API.
GRANT SELECT, INSERT, UPDATE ON
    headgate.practice, headgate.vendor, headgate.app, headgate.app_key, headgate.consent, headgate.patient_group,
    headgate.patient_group_member, headgate.source_catalog, headgate.export, headgate.signing_key,
    headgate.assertion_refusal, headgate.idempotency, headgate.mapping_set TO {api};
GRANT SELECT, INSERT ON
    headgate.export_patient, headgate.problem, headgate.assertion_replay, headgate.revoked_token,
    headgate.audit_seal TO {api};
GRANT SELECT, INSERT, UPDATE ON headgate.audit_mark TO {api};
-- A kick-off locks the consent, and what it hangs on, in share mode, which needs UPDATE.
GRANT SELECT, UPDATE ON headgate.authority TO {api};
GRANT SELECT ON
    headgate.export_member, headgate.export_stream, headgate.source_group,
    headgate.maintenance TO {api};
GRANT SELECT, UPDATE ON headgate.shard, headgate.file, headgate.fleet TO {api};
GRANT SELECT ON headgate.pause TO {api};
GRANT INSERT ON apalis.jobs TO {api};
-- Which workers listen: ids and times.
GRANT SELECT ON apalis.workers TO {api};
-- Members of a group are uploaded into a temporary table.
DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {api}', current_database()); END $$;

-- Workers.
GRANT SELECT ON
    headgate.authority, headgate.practice, headgate.vendor, headgate.app, headgate.consent,
    headgate.patient_group_member, headgate.mapping_set, headgate.fleet, headgate.pause, headgate.resumption,
    headgate.runnable_step TO {worker};
-- FOR SHARE, while a cohort is fixed, needs UPDATE; the count of known members is written.
GRANT SELECT, UPDATE ON headgate.patient_group TO {worker};
GRANT SELECT, INSERT, UPDATE, DELETE ON
    headgate.export, headgate.export_member, headgate.export_patient, headgate.export_stream,
    headgate.export_reference, headgate.shard, headgate.file, headgate.problem, headgate.source_catalog,
    headgate.source_group, headgate.maintenance TO {worker};
-- How much of the audit trail is not sealed yet is measured.
GRANT SELECT (seal_number, last_id) ON headgate.audit_seal TO {worker};
-- What housekeeping forgets.
GRANT SELECT (client_id, jti, expires_at), DELETE ON headgate.assertion_replay TO {worker};
GRANT SELECT (jti, expires_at), DELETE ON headgate.revoked_token TO {worker};
GRANT SELECT (subject, key, created_at), DELETE ON headgate.idempotency TO {worker};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA apalis TO {worker};

-- What is in place stays as it is: each change locks its table, and this runs at every deployment. A policy that has
-- to be another gets another name. The audit trail comes last, as in every transaction.
DO $$
DECLARE
    owned text;
    api_sees text := 'headgate.may_see(practice_number)';
BEGIN
    FOREACH owned IN ARRAY ARRAY[
        'consent', 'patient_group', 'patient_group_member', 'export', 'export_member', 'export_patient',
        'export_reference', 'export_stream', 'shard', 'file', 'problem', 'source_catalog', 'source_group', 'audit_event']
    LOOP
        IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = format('headgate.%I', owned)::regclass) THEN
            EXECUTE format('ALTER TABLE headgate.%I ENABLE ROW LEVEL SECURITY', owned);
        END IF;
        IF owned <> 'audit_event' AND NOT pg_temp.has_policy(owned, 'of_the_practice') THEN
            EXECUTE format('CREATE POLICY of_the_practice ON headgate.%I TO {api} USING (%s)', owned, api_sees);
        END IF;
        IF NOT pg_temp.has_policy(owned, 'of_the_worker') THEN
            EXECUTE format('CREATE POLICY of_the_worker ON headgate.%I TO {worker} USING (true)', owned);
        END IF;
    END LOOP;
    -- An app's token request looks at its own consents, wherever they are.
    IF NOT pg_temp.has_policy('consent', 'of_the_client') THEN
        CREATE POLICY of_the_client ON headgate.consent FOR SELECT TO {api}
            USING (client_id = nullif(current_setting('headgate.client', true), ''));
    END IF;
    -- Events may be about no practice, and are read by whoever asks for all of them or for one practice.
    IF NOT pg_temp.has_policy('audit_event', 'of_the_practice') THEN
        CREATE POLICY of_the_practice ON headgate.audit_event FOR SELECT TO {api}
            USING (headgate.may_see(practice_number)
                   OR practice_number IS NULL AND current_setting('headgate.scope', true) = 'all');
    END IF;
    IF NOT pg_temp.has_policy('audit_event', 'written') THEN
        CREATE POLICY written ON headgate.audit_event FOR INSERT TO {api} WITH CHECK (true);
    END IF;
END $$;
