-- Runs once, when the database is new: the roles with passwords (`headgate migrate` gives them what they need), and an
-- empty database for a practice.
CREATE ROLE headgate_api LOGIN PASSWORD 'dev-api';
CREATE ROLE headgate_worker LOGIN PASSWORD 'dev-worker';
CREATE ROLE headgate_observer LOGIN PASSWORD 'dev-observer';
CREATE ROLE headgate_reader LOGIN PASSWORD 'dev-reader';
GRANT pg_read_all_stats TO headgate_reader;
CREATE DATABASE lakeside;
