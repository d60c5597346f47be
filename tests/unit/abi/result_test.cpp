// Errors are one line, whatever they quote.
#include "runtime/abi/result.h"

#include <gtest/gtest.h>

using namespace qwench;

TEST(Result, MessagesStayOneLineWhateverTheyQuote) {
  EXPECT_EQ(userError("expected a name, found 'a\nb\x1b[2J\x7f'").message, "expected a name, found 'a\\x0ab\\x1b[2J\\x7f'");
  EXPECT_EQ(internalError("tab\there").message, "tab\\x09here");
}

TEST(Result, MessagesKeepTheirText) { EXPECT_EQ(userError("größer als \xF0\x9F\x90\x88").message, "größer als \xF0\x9F\x90\x88"); }

TEST(Result, HoldsEitherAValueOrAnError) {
  Result<int> value = 3, error = userError("expected 3, found none");
  ASSERT_TRUE(value);
  EXPECT_EQ(*value, 3);
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().message, "expected 3, found none");
  EXPECT_EQ(error.error().fault, Error::Fault::User);
}
