-- Indexes for what workers ask every few seconds, so that its cost does not grow with the exports of former years.
-- Only additions, so that programs of schema version 7 go on working while this version is rolled out.

-- Renewals of leases on steps.
CREATE INDEX export_leased ON headgate.export (lease_token) WHERE lease_token IS NOT NULL;

-- Whether an export has shards that are still to be done.
CREATE INDEX shard_undone ON headgate.shard (practice_number, export_id) WHERE state <> 'done';

-- At which practice an export is, by its id alone.
CREATE INDEX export_by_id ON headgate.export (export_id);

-- As in version 7; but shards that an ended export left open are not looked at.
CREATE OR REPLACE FUNCTION headgate.demand(per_practice integer, per_app integer) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH load AS (
        SELECT e.practice_number, e.client_id,
               count(*) FILTER (WHERE s.state = 'leased' AND s.lease_expires_at > clock_timestamp()) AS running,
               count(*) FILTER (WHERE (s.state = 'ready' OR s.lease_expires_at <= clock_timestamp())
                                  AND (s.retry_at IS NULL OR s.retry_at <= clock_timestamp())
                                  AND e.state IN ('planning', 'running')
                                  AND EXISTS (SELECT FROM headgate.authority a
                                               WHERE a.practice_number = e.practice_number AND a.consent_id = e.consent_id)
                                  AND NOT EXISTS (SELECT FROM headgate.pause p
                                                   WHERE p.practice_number = e.practice_number)) AS waiting
          FROM headgate.shard s JOIN headgate.export e USING (practice_number, export_id)
         WHERE s.state IN ('ready', 'leased') AND e.state IN ('accepted', 'planning', 'running', 'finishing')
         GROUP BY e.practice_number, e.client_id),
    -- A cap that was lowered takes nothing away from what runs.
    of_practice AS (
        SELECT greatest(sum(running), least(per_practice, sum(greatest(running, least(per_app, running + waiting))))) AS shards
          FROM load GROUP BY practice_number),
    of_app AS (
        SELECT greatest(sum(running), least(per_app, sum(greatest(running, least(per_practice, running + waiting))))) AS shards
          FROM load GROUP BY client_id)
    SELECT least(coalesce((SELECT sum(shards) FROM of_practice), 0), coalesce((SELECT sum(shards) FROM of_app), 0))::bigint
$$;
