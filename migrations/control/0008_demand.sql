-- How many workers are wanted. Only additions, so that programs of the schema version before go on working.

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
