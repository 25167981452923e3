-- What each kind of host may do in the ledger, and no more. Run it as the owner of the tables
-- (whoever runs `imagen db upgrade`; the right to make roles is needed, too), after every
-- `imagen db upgrade`, as often as you like:
--
--     psql -v ON_ERROR_STOP=1 -f docs/postgresql-roles.sql "$OWNER_URL"
--
-- It makes four roles that nobody logs in as. Each host, and each person, gets a login of its own
-- that is a member of one, so that one password can be withdrawn without touching the others:
--
--     CREATE ROLE gpu_one LOGIN PASSWORD '…' IN ROLE imagen_gpu;
--
-- A host that runs two kinds of worker is a member of two.

BEGIN;
SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['imagen_gpu', 'imagen_cloud', 'imagen_results', 'imagen_client']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
END
$$;

-- A clean slate: what an earlier version of this file gave and this one does not must go.
REVOKE ALL ON ALL TABLES IN SCHEMA imagen
    FROM imagen_gpu, imagen_cloud, imagen_results, imagen_client;
REVOKE ALL ON mai.imagen_usage FROM imagen_cloud, imagen_results, imagen_client;
GRANT USAGE ON SCHEMA imagen TO imagen_gpu, imagen_cloud, imagen_results, imagen_client;
GRANT USAGE ON SCHEMA mai TO imagen_cloud, imagen_results, imagen_client;

-- Everybody: which ledger this is, its revision, who is there, what is paused.
GRANT SELECT ON imagen.alembic_version, imagen.meta
    TO imagen_gpu, imagen_cloud, imagen_results, imagen_client;
GRANT SELECT, INSERT, UPDATE, DELETE ON imagen.workers
    TO imagen_gpu, imagen_cloud, imagen_results, imagen_client;
-- Which login reported a worker is written by the table itself: nobody signs for another.
REVOKE INSERT, UPDATE ON imagen.workers FROM imagen_gpu;
GRANT INSERT (owner, host, role, queues, backends, model, allowed_dirs, open_circuits,
              started_at, seen_at),
      UPDATE (host, role, queues, backends, model, allowed_dirs, open_circuits, seen_at)
    ON imagen.workers TO imagen_gpu;
GRANT SELECT ON imagen.pauses TO imagen_gpu, imagen_cloud, imagen_results, imagen_client;

-- Drawing: claim a row, keep its attempts, hand an image in. Not: change what was asked for, where
-- it goes or whose it is; read an image back; read batches, usage or the copies of images; submit.
GRANT SELECT ON imagen.jobs TO imagen_gpu, imagen_cloud;
GRANT UPDATE (state, phase, not_before, limited_since, lease_owner, lease_expires_at, fence,
              attempt_id, attempt_count, passed_over, passed_over_since, error_code, error_message,
              started_at, finished_at, crash_count, crash_fence, alone_since)
    ON imagen.jobs TO imagen_gpu, imagen_cloud;
-- The value of an option that turned out to be a secret is taken out of the row.
GRANT UPDATE (request) ON imagen.jobs TO imagen_cloud;
GRANT SELECT, INSERT, UPDATE ON imagen.attempts TO imagen_gpu, imagen_cloud;
GRANT INSERT ON imagen.artifacts TO imagen_gpu, imagen_cloud;
GRANT SELECT (key, job_id, size_bytes, sha256, created_at)
    ON imagen.artifacts TO imagen_gpu, imagen_cloud;
GRANT INSERT, UPDATE ON imagen.pauses TO imagen_gpu, imagen_cloud;

-- Looking after everybody's jobs, which results and cloud workers and waiting commands do: take
-- back what the dead held, sweep what nobody will deliver.
GRANT SELECT ON imagen.jobs TO imagen_results;
GRANT UPDATE (state, phase, not_before, lease_owner, lease_expires_at, fence, crash_count,
              crashed_at, crash_fence, alone_since, error_code, error_message, finished_at)
    ON imagen.jobs TO imagen_cloud, imagen_results;
GRANT SELECT ON imagen.attempts TO imagen_results;
GRANT SELECT (key, job_id, size_bytes, sha256, created_at), DELETE
    ON imagen.artifacts TO imagen_cloud, imagen_results;
GRANT SELECT, INSERT, UPDATE, DELETE ON imagen.locks TO imagen_cloud, imagen_results;
-- What the dead were sending, which is given back too.
GRANT SELECT, UPDATE (lease_owner, lease_expires_at, last_error) ON imagen.outbox TO imagen_cloud;

-- Delivering: read the image, say where it went; have it drawn again when its bytes are gone.
GRANT UPDATE (output_path, file_sha256, delivery_count, limited_since) ON imagen.jobs TO imagen_results;
GRANT UPDATE ON imagen.attempts TO imagen_results;
GRANT SELECT ON imagen.artifacts TO imagen_results;

-- What leaves the ledger after a delivery: usage, and the copies of images.
GRANT SELECT, INSERT, UPDATE, DELETE ON imagen.outbox TO imagen_results, imagen_client;
GRANT SELECT, INSERT, UPDATE ON imagen.images, mai.imagen_usage TO imagen_results, imagen_client;
-- A cloud worker records what was billed and will not be delivered.
GRANT SELECT, INSERT ON mai.imagen_usage TO imagen_cloud;
GRANT INSERT ON imagen.outbox TO imagen_cloud;

-- People and what they run: submit, look, cancel, retry, and deliver where no worker does.
GRANT SELECT, INSERT, UPDATE ON imagen.jobs, imagen.batches, imagen.attempts TO imagen_client;
GRANT SELECT, DELETE ON imagen.artifacts TO imagen_client;
GRANT INSERT, UPDATE, DELETE ON imagen.pauses TO imagen_client;
GRANT SELECT, INSERT, UPDATE, DELETE ON imagen.locks TO imagen_client;

-- Row by row. Every table is under row-level security, which shows nothing to a role that is not
-- the owner's and has no policy.
DO $$
DECLARE
    found record;
    member text;
BEGIN
    FOR found IN SELECT tablename FROM pg_tables WHERE schemaname = 'imagen' LOOP
        FOREACH member IN ARRAY
            ARRAY['imagen_gpu', 'imagen_cloud', 'imagen_results', 'imagen_client']
        LOOP
            EXECUTE format('DROP POLICY IF EXISTS %I ON imagen.%I', member, found.tablename);
            EXECUTE format('DROP POLICY IF EXISTS %I ON imagen.%I', member || '_own',
                           found.tablename);
            CONTINUE WHEN member = 'imagen_gpu' AND found.tablename
                IN ('jobs', 'attempts', 'artifacts', 'workers', 'pauses');
            EXECUTE format('CREATE POLICY %I ON imagen.%I TO %I USING (true) WITH CHECK (true)',
                           member, found.tablename, member);
        END LOOP;
    END LOOP;
    FOREACH member IN ARRAY ARRAY['imagen_cloud', 'imagen_results', 'imagen_client'] LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON mai.imagen_usage', member);
        EXECUTE format('CREATE POLICY %I ON mai.imagen_usage TO %I USING (true) WITH CHECK (true)',
                       member, member);
    END LOOP;
END
$$;

-- A GPU host sees the jobs of GPU queues alone, and of those only what is on its way: no prompt of
-- a picture that was drawn long ago. Name queues of your own gpu.something, or change this line.
CREATE POLICY imagen_gpu ON imagen.jobs TO imagen_gpu
    USING ((queue = 'gpu' OR queue LIKE 'gpu.%')
           -- A job that it fails has just got its time of ending, and must still be in sight.
           AND (finished_at IS NULL OR finished_at > now() - interval '1 minute'));

-- What it keeps with a job, it reads and writes where it sees the job: the policy above holds in
-- these queries too.
CREATE POLICY imagen_gpu ON imagen.attempts TO imagen_gpu
    USING (EXISTS (SELECT FROM imagen.jobs WHERE jobs.id = attempts.job_id))
    WITH CHECK (EXISTS (SELECT FROM imagen.jobs WHERE jobs.id = attempts.job_id));
CREATE POLICY imagen_gpu ON imagen.artifacts TO imagen_gpu
    USING (EXISTS (SELECT FROM imagen.jobs WHERE jobs.id = artifacts.job_id))
    WITH CHECK (EXISTS (SELECT FROM imagen.jobs WHERE jobs.id = artifacts.job_id));

-- Everybody's workers and pauses are in its sight; it changes its own worker, and pauses a backend
-- whose jobs it may draw.
CREATE POLICY imagen_gpu ON imagen.workers FOR SELECT TO imagen_gpu USING (true);
CREATE POLICY imagen_gpu_own ON imagen.workers TO imagen_gpu
    USING (login = current_user AND role = 'gpu')
    WITH CHECK (login = current_user AND role = 'gpu');
CREATE POLICY imagen_gpu ON imagen.pauses FOR SELECT TO imagen_gpu USING (true);
CREATE POLICY imagen_gpu_own ON imagen.pauses TO imagen_gpu
    USING (EXISTS (SELECT FROM imagen.jobs WHERE jobs.backend = pauses.backend))
    WITH CHECK (EXISTS (SELECT FROM imagen.jobs WHERE jobs.backend = pauses.backend));

COMMIT;
