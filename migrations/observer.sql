-- The database role of whoever scales the workers: it sees how much there is to do, in counts, and no row of any table.
-- Applied by `headgate migrate` where the role exists, as often as one likes. {observer} is replaced by the quoted name.

REVOKE ALL ON ALL TABLES IN SCHEMA headgate FROM {observer};
GRANT USAGE ON SCHEMA headgate TO {observer};
GRANT EXECUTE ON FUNCTION headgate.runnable(), headgate.demand(integer, integer) TO {observer};
