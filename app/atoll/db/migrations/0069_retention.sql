-- Expired tokens are removed in the order in which they expired.
CREATE INDEX oauthaccesstoken_expires ON oauthaccesstoken (expires_at);
CREATE INDEX appspecifictoken_expires ON appspecifictoken (expires_at)
    WHERE expires_at IS NOT NULL;

-- Unfinished multipart uploads, whose parts are kept, are looked up once an hour.
CREATE INDEX replicationtask_upload ON replicationtask (upload_id) WHERE upload_id IS NOT NULL;
