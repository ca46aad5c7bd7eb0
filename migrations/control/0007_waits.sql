-- Waits that leave out what was held back, prefixes that are emptied once more without a second purge, indexes, and how many
-- workers are wanted.
-- Only additions, so that programs of schema version 6 go on working while this version is rolled out.

--------------------------------------------------------------------------------------------- pausing

ALTER TABLE headgate.practice ADD COLUMN resumed_at timestamptz;
ALTER TABLE headgate.fleet ADD COLUMN resumed_at timestamptz;
COMMENT ON COLUMN headgate.practice.resumed_at IS 'When its last pause ended; programs of schema version 6 leave it as it is.';
COMMENT ON COLUMN headgate.fleet.resumed_at IS 'When its last pause ended; programs of schema version 6 leave it as it is.';

CREATE VIEW headgate.resumption WITH (security_invoker = true) AS
    SELECT p.practice_number, greatest(p.resumed_at, f.resumed_at) AS resumed_at
      FROM headgate.practice p CROSS JOIN headgate.fleet f;
COMMENT ON VIEW headgate.resumption IS 'When work of a practice was last held back, by its own pause or by that of the fleet: before, nothing waited for a worker. Null: never.';

---------------------------------------------------------------------------------------------- sweeps

ALTER TABLE headgate.export ADD COLUMN sweep_due_at timestamptz;
COMMENT ON COLUMN headgate.export.sweep_due_at IS 'Since when the prefix of an export that is purged is to be emptied once more; null: it is not.';
CREATE INDEX export_to_sweep ON headgate.export (sweep_due_at) WHERE sweep_due_at IS NOT NULL;

--------------------------------------------------------------------------------------------- indexes

-- Rows of exports are kept for ever; these are the few of which something else is kept.
CREATE INDEX export_lasting ON headgate.export (state, accepted_at)
    WHERE state IN ('accepted', 'planning', 'running', 'finishing', 'completed');

---------------------------------------------------------------------------------------------- queues

-- What could be taken now if a worker had a free hand, and since when: not since a time at which it was held, rested,
-- was paused, or waited for other work. The caps per practice and app are not asked: they are the workers' configuration.
-- Sweeps are not in it: nobody waits for them.
CREATE VIEW headgate.runnable_step WITH (security_invoker = true) AS
    WITH live AS (
        SELECT e.practice_number, e.export_id, e.state, r.resumed_at,
               greatest(e.accepted_at, e.retry_at, e.lease_expires_at, r.resumed_at) AS since, e.planned_at,
               (e.lease_token IS NULL OR e.lease_expires_at <= clock_timestamp())
                   AND (e.retry_at IS NULL OR e.retry_at <= clock_timestamp()) AS free,
               -- Else what is left is read by reference, once the shards that refer to it are done.
               e.state = 'accepted' OR EXISTS (
                   SELECT FROM headgate.export_stream t
                    WHERE t.practice_number = e.practice_number AND t.export_id = e.export_id
                      AND t.planned_at IS NULL AND t.access_path <> 'reference') AS walks
          FROM headgate.export e
          JOIN headgate.resumption r USING (practice_number)
         WHERE e.state IN ('accepted', 'planning', 'running', 'finishing')
           AND EXISTS (SELECT FROM headgate.authority a
                        WHERE a.practice_number = e.practice_number AND a.consent_id = e.consent_id)
           AND NOT EXISTS (SELECT FROM headgate.pause p WHERE p.practice_number = e.practice_number)),
    open_shard AS (
        SELECT l.practice_number, l.export_id,
               greatest(s.ready_since, s.retry_at, CASE WHEN s.state = 'leased' THEN s.lease_expires_at END,
                        l.resumed_at) AS since,
               (s.state = 'ready' OR s.lease_expires_at <= clock_timestamp())
                   AND (s.retry_at IS NULL OR s.retry_at <= clock_timestamp()) AS free
          FROM live l JOIN headgate.shard s USING (practice_number, export_id)
         WHERE s.state IN ('ready', 'leased'))
    SELECT 'plan' AS step, l.practice_number, l.export_id,
           greatest(l.since, CASE WHEN NOT l.walks THEN (
               SELECT max(s.done_at) FROM headgate.shard s
                WHERE s.practice_number = l.practice_number AND s.export_id = l.export_id) END) AS since
      FROM live l
     WHERE l.free AND l.state IN ('accepted', 'planning')
       AND (l.walks OR NOT EXISTS (SELECT FROM open_shard o
                                    WHERE o.practice_number = l.practice_number AND o.export_id = l.export_id))
    UNION ALL
    SELECT 'shard', o.practice_number, o.export_id, o.since
      FROM open_shard o JOIN live l USING (practice_number, export_id)
     WHERE o.free AND l.state IN ('planning', 'running')
    UNION ALL
    SELECT 'finish', l.practice_number, l.export_id,
           greatest(l.since, l.planned_at, (
               SELECT max(s.done_at) FROM headgate.shard s
                WHERE s.practice_number = l.practice_number AND s.export_id = l.export_id))
      FROM live l
     WHERE l.free AND l.state IN ('running', 'finishing')
       AND NOT EXISTS (SELECT FROM open_shard o
                        WHERE o.practice_number = l.practice_number AND o.export_id = l.export_id)
    UNION ALL
    SELECT 'purge', e.practice_number, e.export_id, greatest(e.ended_at, e.retry_at, e.lease_expires_at)
      FROM headgate.export e
     WHERE e.state IN ('expired', 'cancelled', 'revoked', 'failed') AND e.purged_at IS NULL
       AND (e.lease_token IS NULL OR e.lease_expires_at <= clock_timestamp())
       AND (e.retry_at IS NULL OR e.retry_at <= clock_timestamp())
    UNION ALL
    SELECT 'refresh', c.practice_number, NULL, greatest(c.requested_at, c.retry_at, c.lease_expires_at, r.resumed_at)
      FROM headgate.source_catalog c
      JOIN headgate.resumption r USING (practice_number)
     WHERE (c.refreshed_at IS NULL OR c.requested_at > c.refreshed_at)
       AND (c.lease_token IS NULL OR c.lease_expires_at <= clock_timestamp())
       AND (c.retry_at IS NULL OR c.retry_at <= clock_timestamp())
       AND NOT EXISTS (SELECT FROM headgate.pause p WHERE p.practice_number = c.practice_number);
COMMENT ON VIEW headgate.runnable_step IS 'Each step and shard that could be taken now, and since when. Refreshes are of no export.';

-- A function with the owner's rights, because who scales the workers is to see counts and nothing else.
CREATE OR REPLACE FUNCTION headgate.runnable() RETURNS TABLE (step text, waiting bigint, oldest_s double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT kind.step, count(s.step) AS waiting,
           coalesce(greatest(extract(epoch FROM clock_timestamp() - min(s.since)), 0), 0)::double precision AS oldest_s
      FROM (VALUES ('plan'), ('shard'), ('finish'), ('purge'), ('refresh')) AS kind (step)
      LEFT JOIN headgate.runnable_step s ON s.step = kind.step
     GROUP BY kind.step
$$;

--------------------------------------------------------------------------------------------- scaling

-- How many shards could be under a worker's hands now, were there hands enough: those that are, and those that wait, of which
-- each practice and each app may have as many as the workers' caps say. What waits beyond a cap no further worker could
-- take, and what runs is work that a smaller fleet would put down: headgate.runnable() sees neither. The caps are the
-- workers' configuration and come from whoever asks. Of two bounds, by practice first and by app first, the lower.
-- With the owner's rights and a number alone, as headgate.runnable().
CREATE FUNCTION headgate.demand(per_practice integer, per_app integer) RETURNS bigint
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
         WHERE s.state IN ('ready', 'leased')
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
REVOKE EXECUTE ON FUNCTION headgate.demand(integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION headgate.demand(integer, integer) IS 'Shards that run or could, within the caps per practice and per app: one number, no names. For scaling.';
