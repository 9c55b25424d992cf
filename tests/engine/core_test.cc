#include <sys/stat.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "common/crc32c.h"
#include "engine/core/float16.h"
#include "engine/core/json_config.h"
#include "engine/core/philox.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Sums that RFC 3720 (appendix B.4) gives, and any cut of the bytes.
TEST(Crc32c, GivesKnownSums) {
  const auto sum = [](const std::vector<uint8_t>& bytes) { return Crc32c(std::as_bytes(std::span(bytes))); };
  std::vector<uint8_t> rising(32);
  std::iota(rising.begin(), rising.end(), 0);
  EXPECT_EQ(sum({}), 0u);
  EXPECT_EQ(sum(std::vector<uint8_t>(32, 0)), 0x8a9136aau);
  EXPECT_EQ(sum(std::vector<uint8_t>(32, 0xff)), 0x62a8ab43u);
  EXPECT_EQ(sum(rising), 0x46dd794eu);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(rising));
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(Crc32c(bytes.subspan(cut), Crc32c(bytes.first(cut))), 0x46dd794eu);
  }
}

TEST(JsonConfig, ReadsFields) {
  JsonConfig c("f.json", nlohmann::json::parse(R"({"i":3,"n":1.5,"b":true,"s":"x","l":[1,2],"t":["a"],"o":[true,false],
                                                  "null":null,"unknown_null":null,"same":1,"v":"4.57"})"));
  EXPECT_EQ(c.Int("i", 0, 9), 3);
  EXPECT_EQ(c.Number("i"), 3.0);
  EXPECT_EQ(c.Number("n"), 1.5);
  EXPECT_TRUE(c.Bool("b", false));
  EXPECT_EQ(c.String("s", ""), "x");
  EXPECT_EQ(c.Ints("l", {}), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(c.Numbers("l", {}), (std::vector<double>{1, 2}));
  EXPECT_EQ(c.Strings("t", {}), std::vector<std::string>{"a"});
  EXPECT_EQ(c.Bools("o", {}), (std::vector<bool>{true, false}));
  EXPECT_EQ(c.Int("null", 0, 9, 7), 7);
  EXPECT_EQ(c.Number("absent", 2.0), 2.0);
  EXPECT_FALSE(c.Has("null"));
  ASSERT_NE(c.Raw("null"), nullptr);
  EXPECT_TRUE(c.Raw("null")->is_null());
  EXPECT_EQ(c.Raw("absent"), nullptr);
  c.MustBe("same", 1.0);
  c.Ignore({"v", "not there"});
  EXPECT_TRUE(c.Finish().ok()) << c.Finish();
}

TEST(JsonConfig, ReadsPythonsNonFiniteNumbersAsStrings) {
  TempFolder folder;
  auto c = JsonConfig::Load(folder.Write("c.json", R"({"a":-Infinity,"b":[NaN,Infinity],"c":"NaN \"-Infinity"})"));
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->String("a", ""), "-Infinity");
  EXPECT_EQ(c->Strings("b", {}), (std::vector<std::string>{"NaN", "Infinity"}));
  EXPECT_EQ(c->String("c", ""), "NaN \"-Infinity");
  EXPECT_FALSE(JsonConfig::Load(folder.Write("c.json", R"({"a":-Inf})")).ok());
  EXPECT_FALSE(JsonConfig::Load(folder.Write("c.json", "{\"a\":\"\\")).ok());
}

TEST(JsonConfig, NamesTheFieldAtFault) {
  const auto error = [](const char* json, void (*read)(JsonConfig&)) {
    JsonConfig c("f.json", nlohmann::json::parse(json));
    read(c);
    return std::string(c.Finish().message());
  };
  EXPECT_EQ(error(R"({})", [](JsonConfig& c) { c.Int("x", 1, 2); }), "f.json: field 'x' is missing");
  EXPECT_EQ(error(R"({"x":3})", [](JsonConfig& c) { c.Int("x", 1, 2); }),
            "f.json: field 'x' must be an integer from 1 to 2");
  EXPECT_EQ(error(R"({"x":18446744073709551615})", [](JsonConfig& c) { c.Int("x", 1, 2, 1); }),
            "f.json: field 'x' must be an integer from 1 to 2");
  EXPECT_THAT(error(R"({"x":1.5})", [](JsonConfig& c) { c.Int("x", 1, 2); }), HasSubstr("'x' must be"));
  EXPECT_THAT(error(R"({"x":"1"})", [](JsonConfig& c) { c.Number("x"); }), HasSubstr("'x' must be a number"));
  EXPECT_THAT(error(R"({"x":null})", [](JsonConfig& c) { c.Number("x"); }), HasSubstr("'x' is missing"));
  EXPECT_THAT(error(R"({"x":1})", [](JsonConfig& c) { c.Bool("x", true); }), HasSubstr("'x' must be true or false"));
  EXPECT_THAT(error(R"({"x":1})", [](JsonConfig& c) { c.String("x", ""); }), HasSubstr("'x' must be a string"));
  EXPECT_THAT(error(R"({"x":[1,"a"]})", [](JsonConfig& c) { c.Numbers("x", {}); }), HasSubstr("'x' must be a list"));
  EXPECT_THAT(error(R"({"x":{}})", [](JsonConfig& c) { c.Ints("x", {}); }), HasSubstr("'x' must be a list"));
  EXPECT_THAT(error(R"({"x":"silu"})", [](JsonConfig& c) { c.MustBe("x", "gelu"); }), HasSubstr("'x' is \"silu\""));
  EXPECT_THAT(error(R"({"x":1,"y":2})", [](JsonConfig& c) { c.Int("x", 1, 2); }), HasSubstr("'y' is not known"));
  EXPECT_THAT(error(R"({"x":9,"y":2})", [](JsonConfig& c) { c.Int("x", 1, 2), c.Fail("y", "bad"); }), HasSubstr("'x'"));
  EXPECT_THAT(error(R"({"x":1e39})", [](JsonConfig& c) { c.Number("x"); }), HasSubstr("float32"));
  EXPECT_FALSE(JsonConfig::Load("/nonexistent/config.json").ok());
}

TEST(JsonConfig, RefusesDepthThatRecursionCouldNotCopy) {
  const TempFolder folder;
  const auto nested = [&](size_t depth) {
    return folder.Write("c.json", "{\"x\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}");
  };
  EXPECT_TRUE(JsonConfig::Load(nested(64)).ok());
  EXPECT_THAT(JsonConfig::Load(nested(65)).status().message(), HasSubstr("c.json"));
  EXPECT_FALSE(JsonConfig::Load(nested(1'000'000)).ok());
  EXPECT_TRUE(JsonConfig::Load(folder.Write("c.json", "{\"x\":\"\\\"" + std::string(65, '[') + "\"}")).ok());
}

// Of two equal keys every reader keeps another one.
TEST(JsonConfig, RefusesAKeyThatIsThereTwice) {
  const TempFolder folder;
  const auto error = [&](const char* text) {
    return std::string(JsonConfig::Load(folder.Write("c.json", text)).status().message());
  };
  EXPECT_THAT(error(R"({"x":1,"y":2,"x":1})"), HasSubstr("c.json: has the key 'x' twice"));
  EXPECT_THAT(error(R"({"x":[{"a":1},{"y":{"b":1,"\u0062":2}}]})"), HasSubstr("c.json: has the key 'b' twice"));
  EXPECT_EQ(error(R"({"x":{"x":1},"y":[{"x":1},{"x":1}]})"), "");
}

TEST(JsonConfig, RefusesWhatIsNoFileWithoutWaitingForIt) {
  const TempFolder folder;
  const std::string pipe = folder.path() + "/pipe.json";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(JsonConfig::Load(pipe).status().message(), HasSubstr("pipe.json"));
  EXPECT_THAT(JsonConfig::Load(folder.path()).status().message(), HasSubstr("not a regular file"));
}

TEST(Float16, ConvertsExactly) {
  EXPECT_EQ(F16ToFloat(0x3c00), 1.f);
  EXPECT_EQ(F16ToFloat(0xc000), -2.f);
  EXPECT_EQ(F16ToFloat(0x0001), std::ldexp(1.f, -24));
  EXPECT_EQ(F16ToFloat(0x7bff), 65504.f);
  EXPECT_EQ(F16ToFloat(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(F16ToFloat(0x7e00)));
  EXPECT_EQ(BF16ToFloat(0x3fc0), 1.5f);
  EXPECT_EQ(FloatToBF16(1.f + 0x1p-8f), 0x3f80);      // a tie goes to the even neighbour below
  EXPECT_EQ(FloatToBF16(1.f + 3 * 0x1p-8f), 0x3f82);  // and above
  EXPECT_EQ(FloatToBF16(1.f + 0x1.1p-8f), 0x3f81);
  EXPECT_TRUE(std::isnan(BF16ToFloat(FloatToBF16(std::nanf("")))));
  const std::vector<uint16_t> half = {0x3c00, 0xc000};
  EXPECT_EQ(ToFloats({half.data(), DType::kF16, {2}}), (std::vector<float>{1, -2}));
  const std::vector<uint16_t> brain = {0x3f80, 0xc000};
  EXPECT_EQ(ToFloats({brain.data(), DType::kBF16, {2, 1}}), (std::vector<float>{1, -2}));
}

// Published with the algorithm (Random123's known-answer file, philox4x32, 10 rounds).
TEST(Philox, KnownAnswers) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  const uint32_t f = 0xffffffffu;
  EXPECT_THAT(Philox4x32({f, f, f, f}, {f, f}), ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(Philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
              ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(Philox, NormalNumbersHaveTheirMoments) {
  constexpr int kQuads = 25000;
  double mean = 0, square = 0, fourth = 0;
  for (int i = 0; i < kQuads; ++i) {
    for (const float x : NormalQuad(7, 1, 2, i)) mean += x, square += x * x, fourth += x * x * x * x;
  }
  const double n = 4.0 * kQuads;
  // Four standard errors of each: 1, sqrt(2) and sqrt(96) over sqrt(n).
  EXPECT_NEAR(mean / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(square / n, 1, 4 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 4 * std::sqrt(96 / n));
  EXPECT_NE(NormalQuad(7, 1, 2, 0), NormalQuad(8, 1, 2, 0));
  EXPECT_NE(NormalQuad(7, 1, 2, 0), NormalQuad(7, 2, 2, 0));
  EXPECT_NE(NormalQuad(7, 1, 2, 0), NormalQuad(7, 1, 3, 0));
}

}  // namespace
}  // namespace longtake
