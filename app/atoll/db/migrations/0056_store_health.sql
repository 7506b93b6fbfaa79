-- What an instance knows of each store: {location: {"up": true, "cause": null}}.
ALTER TABLE instance ADD COLUMN stores jsonb NOT NULL DEFAULT '{}';
