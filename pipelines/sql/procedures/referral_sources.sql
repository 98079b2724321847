-- The referral_sources procedure: every way in which patients come, deleted ones
-- included.
--
-- It takes no parameters. Rows come ordered by key. The file holds exactly one
-- statement.
CREATE PROCEDURE referral_sources()
READS SQL DATA
BEGIN
  SELECT
    referral_source_id, referral_source, referral_type, is_active, is_deleted
  FROM referral_source
  ORDER BY referral_source_id;
END
