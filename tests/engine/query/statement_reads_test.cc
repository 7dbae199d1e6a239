#include "engine/query/statement_reads.h"

#include <doctest/doctest.h>

namespace foreshore {

TEST_CASE("reads: words that mix rows are found outside strings, names and comments only") {
  CHECK(HasOnlyRowWiseWords("SELECT id FROM notes WHERE site = 'A' AND n IN (1, 2) ORDER BY n LIMIT 5"));
  CHECK(HasOnlyRowWiseWords(
      "SELECT id, 'group by' AS \"distinct\", [offset], `having` FROM notes -- over\n /* match */"));
  CHECK(HasOnlyRowWiseWords("SELECT grouping, matched FROM notes"));
  CHECK(HasOnlyRowWiseWords("SELECT id FROM notes WHERE a = 'it''s distinct'"));
  CHECK_FALSE(HasOnlyRowWiseWords("SELECT distinct id FROM notes"));
  CHECK_FALSE(HasOnlyRowWiseWords("SELECT id FROM notes GROUP BY site"));
  CHECK_FALSE(HasOnlyRowWiseWords("SELECT id FROM notes LIMIT 5 OFFSET 2"));
  CHECK_FALSE(HasOnlyRowWiseWords("SELECT id FROM notes LIMIT 2, 5"));
  CHECK_FALSE(HasOnlyRowWiseWords("SELECT id FROM notes WHERE v MATCH '[1,2]'"));
  CHECK_FALSE(HasOnlyRowWiseWords("SELECT id, row_number() OVER (ORDER BY id) FROM notes"));
  CHECK_FALSE(HasOnlyRowWiseWords("WITH x AS (VALUES (1)) SELECT id FROM notes"));
}

}  // namespace foreshore
