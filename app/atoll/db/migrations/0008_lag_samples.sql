-- The missing copies of each location, one sample each half minute, kept for seven days.
CREATE TABLE lagsample (
    location_id bigint NOT NULL REFERENCES imagestoragelocation ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    blobs       bigint NOT NULL,
    bytes       bigint NOT NULL,
    -- The age of the oldest missing copy.
    seconds     double precision NOT NULL,
    PRIMARY KEY (location_id, at)
);
CREATE INDEX lagsample_at ON lagsample (at);

-- The maxima of the samples of each five minutes, from which curves of days are drawn: a week of
-- samples of 50 locations is a million rows.
CREATE TABLE lagpeak (
    location_id bigint NOT NULL REFERENCES imagestoragelocation ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    blobs       bigint NOT NULL,
    bytes       bigint NOT NULL,
    seconds     double precision NOT NULL,
    PRIMARY KEY (location_id, at)
);
CREATE INDEX lagpeak_at ON lagpeak (at);

-- The end of the certificate that the instance serves TLS with; NULL without one, and for instances
-- of an earlier version.
ALTER TABLE instance ADD COLUMN certificate_expires_at timestamptz;
