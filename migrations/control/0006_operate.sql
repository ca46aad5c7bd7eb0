-- Operating a fleet: pausing, what things cost, how long they wait, and the trace that a kick-off began.
-- Only additions, so that programs of schema version 5 go on working while this version is rolled out.

--------------------------------------------------------------------------------------------- pausing

ALTER TABLE headgate.practice
    ADD COLUMN paused_at    timestamptz,
    ADD COLUMN paused_by    text,
    ADD COLUMN pause_reason text,
    ADD COLUMN pause_drains boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN headgate.practice.paused_at IS 'Since when workers take up nothing new of the practice; purging goes on.';
COMMENT ON COLUMN headgate.practice.pause_drains IS 'Whether what runs checkpoints and is given back too.';

CREATE TABLE headgate.fleet (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    paused_at    timestamptz,
    paused_by    text,
    pause_reason text,
    pause_drains boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE headgate.fleet IS 'One row: what holds for all practices.';
INSERT INTO headgate.fleet DEFAULT VALUES;

-- The one meaning of "paused". Statements that hand out work ask this view.
CREATE VIEW headgate.pause WITH (security_invoker = true) AS
    SELECT p.practice_number,
           f.paused_at IS NOT NULL AS of_fleet,
           CASE WHEN f.paused_at IS NOT NULL THEN f.paused_at ELSE p.paused_at END AS since,
           CASE WHEN f.paused_at IS NOT NULL THEN f.paused_by ELSE p.paused_by END AS paused_by,
           CASE WHEN f.paused_at IS NOT NULL THEN f.pause_reason ELSE p.pause_reason END AS reason,
           (f.paused_at IS NOT NULL AND f.pause_drains) OR (p.paused_at IS NOT NULL AND p.pause_drains) AS drains
      FROM headgate.practice p CROSS JOIN headgate.fleet f
     WHERE f.paused_at IS NOT NULL OR p.paused_at IS NOT NULL;
COMMENT ON VIEW headgate.pause IS 'The practices of which workers take up nothing new, by their own pause or by that of the fleet.';

--------------------------------------------------------------------------------- waits, cost, traces

ALTER TABLE headgate.export ADD COLUMN trace_parent text
    CHECK (trace_parent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
COMMENT ON COLUMN headgate.export.trace_parent IS 'W3C trace context of the kick-off: planning goes on with its trace, later steps and shards link to it.';

ALTER TABLE headgate.shard
    ADD COLUMN ready_since  timestamptz,
    ADD COLUMN leased_at    timestamptz,
    ADD COLUMN published_at timestamptz,
    ADD COLUMN busy_s       double precision NOT NULL DEFAULT 0;
-- In statements of their own: the rows that are there keep null, and the table is not written anew.
ALTER TABLE headgate.shard ALTER COLUMN ready_since SET DEFAULT clock_timestamp();
COMMENT ON COLUMN headgate.shard.ready_since IS 'When it last became runnable.';
COMMENT ON COLUMN headgate.shard.leased_at IS 'When it was last taken.';
COMMENT ON COLUMN headgate.shard.published_at IS 'When it last published.';
COMMENT ON COLUMN headgate.shard.busy_s IS 'Seconds that workers have held it, over all acquisitions that ended.';

-- What could be taken now if a worker had a free hand, and how long the oldest of it has waited. The caps per practice
-- and app are not asked: they are the workers' configuration. A function with the owner's rights, because who scales the
-- workers is to see counts and nothing else.
CREATE FUNCTION headgate.runnable() RETURNS TABLE (step text, waiting bigint, oldest_s double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH live AS (
        SELECT e.practice_number, e.export_id, e.state, e.accepted_at, e.retry_at,
               e.attempts, (e.lease_token IS NULL OR e.lease_expires_at <= clock_timestamp())
                   AND (e.retry_at IS NULL OR e.retry_at <= clock_timestamp()) AS free
          FROM headgate.export e
         WHERE e.state IN ('accepted', 'planning', 'running', 'finishing')
           AND EXISTS (SELECT FROM headgate.authority a
                        WHERE a.practice_number = e.practice_number AND a.consent_id = e.consent_id)
           AND NOT EXISTS (SELECT FROM headgate.pause p WHERE p.practice_number = e.practice_number)),
    open_shard AS (
        SELECT l.practice_number, l.export_id,
               greatest(s.ready_since, s.retry_at, CASE WHEN s.state = 'leased' THEN s.lease_expires_at END) AS since,
               (s.state = 'ready' OR s.lease_expires_at <= clock_timestamp())
                   AND (s.retry_at IS NULL OR s.retry_at <= clock_timestamp()) AS free
          FROM live l JOIN headgate.shard s USING (practice_number, export_id)
         WHERE s.state IN ('ready', 'leased')),
    step AS (
        SELECT 'plan' AS step, greatest(l.accepted_at, l.retry_at) AS since
          FROM live l
         WHERE l.free AND (l.state = 'accepted' OR l.state = 'planning'
                           AND (EXISTS (SELECT FROM headgate.export_stream t
                                         WHERE t.practice_number = l.practice_number AND t.export_id = l.export_id
                                           AND t.planned_at IS NULL AND t.access_path <> 'reference')
                                OR NOT EXISTS (SELECT FROM open_shard o
                                                WHERE o.practice_number = l.practice_number AND o.export_id = l.export_id)))
        UNION ALL
        SELECT 'shard', o.since FROM open_shard o JOIN live l USING (practice_number, export_id)
         WHERE o.free AND l.state IN ('planning', 'running')
        UNION ALL
        SELECT 'finish', greatest(coalesce((SELECT max(s.done_at) FROM headgate.shard s
                                             WHERE s.practice_number = l.practice_number AND s.export_id = l.export_id),
                                           l.accepted_at), l.retry_at)
          FROM live l
         WHERE l.free AND l.state IN ('running', 'finishing')
           AND NOT EXISTS (SELECT FROM open_shard o
                            WHERE o.practice_number = l.practice_number AND o.export_id = l.export_id)
        UNION ALL
        SELECT 'purge', greatest(e.ended_at, e.retry_at) FROM headgate.export e
         WHERE e.state IN ('expired', 'cancelled', 'revoked', 'failed') AND e.purged_at IS NULL
           AND (e.lease_token IS NULL OR e.lease_expires_at <= clock_timestamp())
           AND (e.retry_at IS NULL OR e.retry_at <= clock_timestamp())
        UNION ALL
        SELECT 'refresh', greatest(c.requested_at, c.retry_at) FROM headgate.source_catalog c
         WHERE (c.refreshed_at IS NULL OR c.requested_at > c.refreshed_at)
           AND (c.lease_token IS NULL OR c.lease_expires_at <= clock_timestamp())
           AND (c.retry_at IS NULL OR c.retry_at <= clock_timestamp())
           AND NOT EXISTS (SELECT FROM headgate.pause p WHERE p.practice_number = c.practice_number))
    SELECT kind.step, count(step.step) AS waiting,
           coalesce(greatest(extract(epoch FROM clock_timestamp() - min(step.since)), 0), 0)::double precision AS oldest_s
      FROM (VALUES ('plan'), ('shard'), ('finish'), ('purge'), ('refresh')) AS kind (step)
      LEFT JOIN step ON step.step = kind.step
     GROUP BY kind.step
$$;
REVOKE EXECUTE ON FUNCTION headgate.runnable() FROM PUBLIC;
COMMENT ON FUNCTION headgate.runnable() IS 'What could be taken now, by kind: counts and seconds, no names. For scaling and for metrics.';
