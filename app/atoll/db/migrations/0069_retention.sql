-- Expired tokens are removed in the order in which they expired.
CREATE INDEX oauthaccesstoken_expires ON oauthaccesstoken (expires_at);
CREATE INDEX appspecifictoken_expires ON appspecifictoken (expires_at)
    WHERE expires_at IS NOT NULL;
