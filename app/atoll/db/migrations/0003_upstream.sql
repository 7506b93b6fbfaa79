-- The requests that all sites together send to other registries.

CREATE TABLE upstream (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Host and port, as in requests.
    host          text NOT NULL,
    -- The user name; '' for anonymous access. Registries count requests per account.
    account       text NOT NULL,
    -- A hash of the proxies and of the settings of TLS if a user chose them; '' if not. Through a
    -- proxy of a user's own, or without verification, another server may respond in the upstream's
    -- name: it must not block the mirrors of others.
    route         text NOT NULL,
    -- Until when no request is sent, as the upstream asked.
    blocked_until timestamptz,
    -- The pulls that the upstream announced to be left, of how many, and when.
    remaining     bigint,
    allowance     bigint,
    remaining_at  timestamptz,
    -- The pulls that were handed out to processes in the current period of the configured limit.
    pulls         bigint NOT NULL DEFAULT 0,
    period_ends   timestamptz,
    UNIQUE (host, account, route)
);

-- The shares of processes. They are renewed every 10 seconds while requests are sent.
CREATE TABLE upstreamlease (
    upstream_id bigint NOT NULL REFERENCES upstream ON DELETE CASCADE,
    holder      uuid NOT NULL,
    -- The permitted concurrent requests, those that were wanted, and those in progress at the last
    -- renewal, which are more than permitted after the share became smaller.
    slots       integer NOT NULL,
    wanted      integer NOT NULL,
    in_use      integer NOT NULL,
    -- Since when the share is less than an equal part.
    short_since timestamptz,
    expires     timestamptz NOT NULL,
    PRIMARY KEY (upstream_id, holder)
);
