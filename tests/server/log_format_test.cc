// The log's lines as text and as JSON.
#include "server/telemetry/log_format.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/telemetry/origin.h"

namespace longtake::server {
namespace {

using nlohmann::json;

// What a line looks like in a format.
std::string Logged(LogFormat format, const std::string& line) {
  std::ostringstream out;
  spdlog::logger logger("test", std::make_shared<spdlog::sinks::ostream_sink_st>(out));
  logger.set_formatter(MakeLogFormatter(format));
  logger.warn(line);
  return out.str();
}

json Parsed(const std::string& line) { return json::parse(absl::StrCat("{", LineToJson(line), "}")); }

TEST(LogFormat, TextIsOneLineWithItsTimeAndLevel) {
  EXPECT_THAT(Logged(LogFormat::kText, "video accepted name=videos/5f"),
              testing::MatchesRegex("2...-..-..T..:..:......[+-]..:.. level=warning video accepted name=videos/5f\n"));
  EXPECT_THAT(Logged(LogFormat::kText, "a\n2026-01-01T00:00:00.000+00:00 level=info forged\x1b[31m"),
              testing::HasSubstr(" a\\x0a2026-01-01T00:00:00.000+00:00 level=info forged\\x1b[31m\n"));
}

TEST(LogFormat, JsonIsAnObjectALine) {
  const std::string line = Logged(LogFormat::kJson, "video ended name=videos/5f elapsed=1.250 error=\"a \\\"b\\\"\"");
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  json object = json::parse(line);
  EXPECT_THAT(object["time"].get<std::string>(), testing::MatchesRegex("2...-..-..T..:..:......[+-]..:.."));
  object.erase("time");
  EXPECT_EQ(object, json({{"level", "warning"},
                          {"message", "video ended"},
                          {"name", "videos/5f"},
                          {"elapsed", 1.25},
                          {"error", "a \"b\""}}));
  EXPECT_TRUE(json::accept(Logged(LogFormat::kJson, "a\nb\xff \"c")));
}

TEST(LogFormat, FieldsAreThoseAtTheEnd) {
  EXPECT_EQ(Parsed("the device works again"), json({{"message", "the device works again"}}));
  EXPECT_EQ(Parsed("cannot load: x=1 is no y"), json({{"message", "cannot load: x=1 is no y"}}));
  EXPECT_EQ(Parsed("a=\"b c\" d=true e=\"true\" f=-2"),
            json({{"message", ""}, {"a", "b c"}, {"d", true}, {"e", "true"}, {"f", -2}}));
  EXPECT_EQ(Parsed("starting a=1"), json({{"message", "starting"}, {"a", 1}}));
  // Quotes that do not close, and text behind them, are text.
  for (const char* text : {"m a=\"b", "m a=\"b\"c", "m a=b\"c", "m a=", "m =a", "m a=\"\\q\"", ""}) {
    EXPECT_EQ(Parsed(text), json({{"message", text}}));
  }
  // A field does not take the place of the line's own.
  EXPECT_EQ(Parsed("m level=info time=1 message=x"),
            json({{"message", "m"}, {"level_text", "info"}, {"time_text", 1}, {"message_text", "x"}}));
}

TEST(LogFormat, AnyTextComesThroughAsAValue) {
  for (const std::string text : {"plain", "", "two words", "42", "1e5", "true", "null", "a=b", "\"", "\\", "a\nb",
                                 "x level=info", "größe", "videos/0123", "-", "nan", "{\"a\":1}"}) {
    const std::string line = "m a=" + LogValue(text) + " b=1";
    EXPECT_EQ(Parsed(line), json({{"message", "m"}, {"a", text}, {"b", 1}})) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos);
  }
  EXPECT_EQ(LogValue("videos/5f"), "videos/5f");
  EXPECT_EQ(LogValue("two words"), "\"two words\"");
}

TEST(RequestId, IsTakenOverWhereItIsShortAndPlain) {
  for (const std::string& given : {std::string("a"), std::string("Abc-1_2.3"), std::string(64, 'x')}) {
    EXPECT_EQ(RequestIdFrom(given), given);
  }
  for (const std::string& given : {std::string(), std::string(65, 'x'), std::string("a b"), std::string("a\nb"),
                                   std::string("a\"b"), std::string("\0", 1), std::string("ä")}) {
    EXPECT_THAT(RequestIdFrom(given), testing::MatchesRegex("[0-9a-f]{16}"));
  }
  EXPECT_NE(RequestIdFrom(""), RequestIdFrom(""));
}

}  // namespace
}  // namespace longtake::server
