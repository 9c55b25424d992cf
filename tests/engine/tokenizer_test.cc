// Both kinds of tokenizer files, against the sentencepiece library on random texts, and by hand. tests/parity compares
// with transformers.
#include "engine/models/text/tokenizer.h"

#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/read_file.h"
#include "tests/engine/temp_folder.h"
#include "tests/engine/train_tokenizer.h"

namespace longtake {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// Texts of words that merge, of characters that do not, of white space and of pieces' names.
std::string RandomText(std::mt19937& random) {
  static const std::string kParts[] = {"a",
                                       "e",
                                       "o",
                                       "s",
                                       "the",
                                       "star",
                                       " ",
                                       " ",
                                       " ",
                                       "  ",
                                       "   ",
                                       "\t",
                                       "\n",
                                       "\n\n",
                                       "\n\n\n",
                                       "red",
                                       "meadow",
                                       "moves",
                                       "slowly",
                                       ".",
                                       "10",
                                       "\xe2\x96\x81",
                                       "\xe2\x96\x81\xe2\x96\x81",
                                       "\xe2\x91\xa0",
                                       "a\xcc\x81",
                                       "\xf0\x9f\x8e\x88",
                                       "\xe7\xbb\xbf\xe8\x89\xb2",
                                       "\xd7\xa9\xd7\x9c",
                                       "<table>",
                                       "<b>",
                                       "<",
                                       ">",
                                       "<s>",
                                       "</s>",
                                       "<unk>",
                                       "<0x41>",
                                       "\xc2\xa0",
                                       "\xe2\x80\x8b",
                                       std::string("\0", 1),
                                       "Q",
                                       "zz"};
  std::string text;
  const int parts = static_cast<int>(random() % 24);
  for (int i = 0; i < parts; ++i) text += kParts[random() % std::size(kParts)];
  return text;
}

void ExpectEqualToLibrary(const std::string& model, int texts) {
  ASSERT_FALSE(model.empty());
  const TempFolder folder;
  folder.Write("tokenizer.model", model);
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const SentencePieceReference reference(model);
  std::mt19937 random(11);
  for (int i = 0; i < texts; ++i) {
    const std::string text = RandomText(random);
    auto ids = tokenizer->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    ids->erase(ids->begin());  // BOS
    ASSERT_EQ(*ids, reference.Encode(text)) << text;
  }
}

TEST(SentencePiece, BundledModelsPiecesAreTheLibrarys) {
  ExpectEqualToLibrary(ReadFile("models/longtake-tiny/tokenizer/tokenizer.model"), 5000);
}

TEST(SentencePiece, PiecesAreTheLibrarysUnderEverySetting) {
  for (const char* prefix : {"false", "true"}) {
    for (const char* trim : {"false", "true"}) {
      for (const char* symbols : {"\n", "\n,\n\n,\xe2\x96\x81\xe2\x96\x81,<table>,<b>,  ,star"}) {
        ExpectEqualToLibrary(
            TrainTokenizerWith(
                {{"add_dummy_prefix", prefix}, {"remove_extra_whitespaces", trim}, {"user_defined_symbols", symbols}}),
            2000);
      }
      ExpectEqualToLibrary(TrainTokenizerWith({{"add_dummy_prefix", prefix},
                                               {"remove_extra_whitespaces", trim},
                                               {"byte_fallback", "false"},
                                               {"vocab_size", "80"}}),
                           2000);
    }
  }
}

TEST(SentencePiece, LongTextsAreTheLibrarys) {
  const std::string model = TrainTokenizer();
  const TempFolder folder;
  folder.Write("tokenizer.model", model);
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const char* part : {"the star is red. ", "e", " ", "\xf0\x9f\x8e\x88"}) {
    std::string text;
    while (text.size() < 200'000) text += part;
    auto ids = tokenizer->Encode(text);
    ASSERT_TRUE(ids.ok());
    ids->erase(ids->begin());
    EXPECT_EQ(*ids, SentencePieceReference(model).Encode(text)) << part;
  }
}

// Gemma's file has these among the symbols that are looked for in a text.
TEST(SentencePiece, ControlPiecesInATextAreText) {
  const std::string model =
      TrainTokenizerWith({{"user_defined_symbols", "\n,<start_of_turn>,<end_of_turn>,<unused7>,<mask>,<h1>"}});
  const TempFolder folder;
  folder.Write("tokenizer.model", model);
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const char* control :
       {"<start_of_turn>", "<end_of_turn>", "<unused7>", "<mask>", "<s>", "</s>", "<pad>", "<unk>"}) {
    const auto ids = tokenizer->Encode(absl::StrCat("a", control));
    EXPECT_GT(ids->size(), 4u) << control;
    EXPECT_EQ(ids->at(0), 2);
    for (size_t i = 1; i < ids->size(); ++i) EXPECT_GT(ids->at(i), 9) << control;
  }
  EXPECT_THAT(*tokenizer->Encode("<h1>"), ElementsAre(2, 9));
  EXPECT_THAT(*tokenizer->Encode("\n\n"), ElementsAre(2, 4, 4));
  EXPECT_THAT(std::string(tokenizer->Encode("a\xff").status().message()), HasSubstr("UTF-8"));
}

// Fields of a ModelProto.
std::string Field(int number, std::string_view bytes) {
  return absl::StrCat(std::string(1, static_cast<char>(number << 3 | 2)),
                      std::string(1, static_cast<char>(bytes.size())), std::string(bytes));
}
std::string Number(int number, int value) {
  std::string tag(1, static_cast<char>((number << 3 & 0x7f) | (number >= 16 ? 0x80 : 0)));
  if (number >= 16) tag += static_cast<char>(number >> 4);
  return tag + static_cast<char>(value);
}
std::string PieceField(std::string_view text, int type) { return Field(1, Field(1, text) + Number(3, type)); }

std::string LoadError(const std::string& file, const std::string& bytes, const std::string& config = "") {
  const TempFolder folder;
  folder.Write(file, bytes);
  if (!config.empty()) folder.Write("tokenizer_config.json", config);
  const auto tokenizer = Tokenizer::Load(folder.path());
  const std::string message(tokenizer.status().message());
  EXPECT_THAT(message, tokenizer.ok() ? HasSubstr("") : HasSubstr(folder.path()));
  return message;
}

TEST(SentencePiece, RefusesFilesByName) {
  const std::string pieces = PieceField("<s>", 3) + PieceField("<unk>", 2) + PieceField("a", 1);
  const std::string bpe = Field(2, Number(3, 2));
  EXPECT_EQ(LoadError("tokenizer.model", pieces + bpe), "");
  struct Case {
    std::string bytes, error;
  };
  for (const Case& c : std::vector<Case>{
           {"", "it has no pieces"},
           {"no model", "is not a SentencePiece model"},
           {std::string(1000, '\0'), "is not a SentencePiece model"},
           {pieces.substr(0, pieces.size() - 1) + bpe, "is not a SentencePiece model"},
           {pieces, "'model_type' must be BPE"},
           {pieces + Field(2, Number(3, 1)), "'model_type' must be BPE"},
           {pieces + bpe + Field(2, Number(24, 1)), "'treat_whitespace_as_suffix' must be false"},
           {pieces + bpe + Field(2, Number(35, 1)), "256 pieces of byte_fallback"},
           {pieces + bpe + Field(3, Field(2, "rules")), "'normalizer_spec' normalizes text"},
           {pieces + bpe + Field(3, Number(5, 0)), "'escape_whitespaces' must be true"},
           {pieces + bpe + PieceField("a", 1), "has the piece 'a' twice"},
           {pieces + bpe + PieceField("b", 5), "piece 'b' is of the type UNUSED"},
           {pieces + bpe + PieceField("b", 7), "a piece has an unknown type"},
           {pieces + bpe + PieceField("", 1), "a piece is no text"},
           {pieces + bpe + PieceField("\xff", 1), "a piece is no text"},
           {PieceField("<unk>", 2) + bpe, "no piece for the beginning of a text"},
           {PieceField("<s>", 3) + bpe, "no piece for unknown characters"},
       }) {
    EXPECT_THAT(LoadError("tokenizer.model", c.bytes), HasSubstr(c.error));
  }
}

// A tokenizer.json with the byte pieces 10 to 265, a few letters and words.
Json SmallTokenizerJson() {
  Json vocabulary = {{"<pad>", 0}, {"<eos>", 1}, {"<bos>", 2}, {"<unk>", 3}, {"\n\n", 4}, {"<b>", 5}, {"<unused0>", 6}};
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int i = 0; i < 256; ++i) {
    vocabulary[absl::StrCat("<0x", std::string(1, kHex[i / 16]), std::string(1, kHex[i % 16]), ">")] = 10 + i;
  }
  int id = 266;
  for (const char* piece : {"\xe2\x96\x81", "a", "b", "c", "ab", "abc", "bc",
                            "\xe2\x96\x81"
                            "a"}) {
    vocabulary[piece] = id++;
  }
  const auto added = [](const char* text, int token, bool special, bool normalized) {
    return Json{{"id", token},     {"content", text},    {"single_word", false},    {"lstrip", false},
                {"rstrip", false}, {"special", special}, {"normalized", normalized}};
  };
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens",
           {added("<pad>", 0, true, false), added("<bos>", 2, true, false), added("\n\n", 4, false, false),
            added("<b>", 5, false, true), added("<unused0>", 6, false, false), added("a b", 300, false, true)}},
          {"normalizer", {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xe2\x96\x81"}}},
          {"pre_tokenizer",
           {{"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", "<bos>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"pair", Json::array()},
            {"special_tokens", {{"<bos>", {{"id", "<bos>"}, {"ids", {2}}, {"tokens", {"<bos>"}}}}}}}},
          {"decoder", {{"type", "Fuse"}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", "<unk>"},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"ignore_merges", false},
            {"vocab", vocabulary},
            {"merges", Json::parse(R"([["b","c"],["a","b"],["a","bc"],["\u2581","a"]])")}}}};
}

TEST(TokenizerJson, EncodesByItsMerges) {
  for (const bool pairs : {true, false}) {
    Json file = SmallTokenizerJson();
    if (!pairs) file["model"]["merges"] = Json::parse(R"(["b c","a b","a bc","\u2581 a"])");
    const TempFolder folder;
    folder.Write("tokenizer.json", file.dump());
    const auto tokenizer = Tokenizer::Load(folder.path());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ(tokenizer->vocabulary(), 301);
    EXPECT_EQ(tokenizer->pad_id(), 0);
    const auto encode = [&](const char* text) { return *tokenizer->Encode(text); };
    EXPECT_THAT(encode(""), ElementsAre(2));
    EXPECT_THAT(encode("abc"), ElementsAre(2, 271));       // b c first, although a b stands first in the text
    EXPECT_THAT(encode("aab"), ElementsAre(2, 267, 270));  // no other
    EXPECT_THAT(encode(" ab"), ElementsAre(2, 266, 270));  // the space loses its a
    EXPECT_THAT(encode(" ac"), ElementsAre(2, 273, 269));  // and keeps it here
    EXPECT_THAT(encode("\n\n\n"), ElementsAre(2, 4, 20));  // the longest from the left; a byte
    EXPECT_THAT(encode("\xc3\xa9"), ElementsAre(2, 205, 179));
    EXPECT_THAT(encode("c<b>c"), ElementsAre(2, 269, 5, 269));
    EXPECT_THAT(encode("a b"), ElementsAre(2, 300));  // looked for after spaces were replaced
    EXPECT_THAT(encode("a\xe2\x96\x81"
                       "b"),
                ElementsAre(2, 300));
    // Control pieces are text, of bytes here.
    EXPECT_EQ(encode("<bos>").size(), 6u);
    EXPECT_EQ(encode("<unused0>").size(), 10u);
  }
}

TEST(TokenizerJson, RefusesWhatItDoesNotKnowByName) {
  EXPECT_EQ(LoadError("tokenizer.json", SmallTokenizerJson().dump()), "");
  struct Case {
    const char *at, *value, *error;
  };
  for (const Case& c : std::vector<Case>{
           {"/extra", "1", "field 'extra' is not known"},
           {"/normalizer", "null", "field 'normalizer' is null"},
           {"/normalizer", R"({"type":"NFKC"})", "field 'normalizer' is {\"type\":\"NFKC\"}"},
           {"/normalizer/content", R"("_")", "field 'normalizer'"},
           {"/normalizer", R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"}]})", "'normalizer'"},
           {"/pre_tokenizer", R"({"type":"Metaspace"})", "field 'pre_tokenizer' is {\"type\":\"Metaspace\"}"},
           {"/pre_tokenizer/behavior", R"("Isolated")", "field 'pre_tokenizer'"},
           {"/post_processor", R"({"type":"ByteLevel"})", "field 'post_processor' is {\"type\":\"ByteLevel\"}"},
           {"/post_processor", "null", "no piece for the beginning"},
           {"/post_processor/single/2", R"({"SpecialToken":{"id":"<eos>","type_id":0}})",
            "'post_processor' must put one"},
           {"/post_processor/single", R"([{"Sequence":{"id":"A","type_id":0}}])", "'post_processor' must put one"},
           {"/post_processor/single/0/SpecialToken/id", R"("<x>")", "'post_processor' has no special token"},
           {"/post_processor/special_tokens/<bos>/ids", "[2,3]", "'post_processor' gives \"<bos>\" not one id"},
           {"/added_tokens", "{}", "'added_tokens' must be a list"},
           {"/added_tokens/2/lstrip", "true", "added_tokens: field 'lstrip'"},
           {"/added_tokens/2/content", R"("")", "added_tokens: field 'content'"},
           {"/added_tokens/2/id", "-1", "added_tokens: field 'id'"},
           {"/added_tokens/2/id", "5", "gives '\n\n' a second id"},
           {"/added_tokens/2/more", "1", "added_tokens: field 'more' is not known"},
           {"/model", "7", "field 'model' must be an object"},
           {"/model/type", R"("Unigram")", "model: field 'type' is \"Unigram\""},
           {"/model/type", "null", "model: field 'type' is missing"},
           {"/model/dropout", "0.1", "model: field 'dropout'"},
           {"/model/byte_fallback", "false", "model: field 'byte_fallback'"},
           {"/model/ignore_merges", "true", "model: field 'ignore_merges'"},
           {"/model/end_of_word_suffix", R"("</w>")", "model: field 'end_of_word_suffix'"},
           {"/model/scores", "[]", "model: field 'scores' is not known"},
           {"/model/vocab", "[]", "model: field 'vocab' must be an object"},
           {"/model/vocab/ab", "-7", "model: field 'vocab' gives the piece 'ab' no id"},
           {"/model/vocab/ab", "99999999999", "gives the piece 'ab' no id"},
           {"/model/vocab/ab", "2", "'vocab' has the id 2 twice"},
           {"/model/vocab/<0x41>", R"("x")", "gives the piece '<0x41>' no id"},
           {"/model/merges", "{}", "model: field 'merges' must be a list"},
           {"/model/merges/0", R"("abc")", "'merges' has an entry 0 that is no pair"},
           {"/model/merges/0", R"("a b c")", "'merges' has an entry 0 that is no pair"},
           {"/model/merges/0", R"(["a"])", "'merges' has an entry 0 that is no pair"},
           {"/model/merges/1", R"(["a",["b"]])", "'merges' has an entry 1 that is no pair"},
           {"/model/merges/1", R"({"a":"b"})", "'merges' has an entry 1 that is no pair"},
           {"/model/merges/1", "7", "'merges' has an entry 1 that is no pair"},
           {"/model/vocab/ab", "[3]", "gives the piece 'ab' no id"},
           {"/model/vocab/ab", "null", "gives the piece 'ab' no id"},
           {"/model/merges/0", R"(["a","b","c"])", "'merges' has an entry 0 that is no pair"},
           {"/model/merges/0", R"(["c","a"])", "'merges' joins 'c' and 'a'"},
       }) {
    Json file = SmallTokenizerJson();
    file[Json::json_pointer(c.at)] = Json::parse(c.value);
    EXPECT_THAT(LoadError("tokenizer.json", file.dump()), AllOf(HasSubstr("tokenizer.json"), HasSubstr(c.error)))
        << c.at << " " << c.value;
  }
  Json file = SmallTokenizerJson();
  file["model"]["vocab"].erase("<0xFF>");
  EXPECT_THAT(LoadError("tokenizer.json", file.dump()), HasSubstr("256 pieces of byte_fallback"));
  std::string twice = SmallTokenizerJson().dump();
  twice.insert(twice.find("\"vocab\":{") + 9, "\"ab\":7,");
  EXPECT_THAT(LoadError("tokenizer.json", twice), HasSubstr("'vocab' has the piece 'ab' twice"));
  std::string much = "{\"version\":[0";
  for (int i = 0; i < 100'000; ++i) much += ",0";
  EXPECT_THAT(LoadError("tokenizer.json", much + "]}"), HasSubstr("has too many values"));
  for (const char* text :
       {"", "{", "[]", "{}", "[[{}]]", "[[[]]]", "[{\"model\":[[]]}]", "{\"model\":{},\"model\":{}}"}) {
    EXPECT_THAT(LoadError("tokenizer.json", text), HasSubstr("tokenizer.json: ")) << text;
  }
}

// Every truncation, and bytes changed at random.
TEST(TokenizerJson, NoFileEndsTheProcess) {
  const std::string whole = SmallTokenizerJson().dump();
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    std::string text = whole;
    if (i % 2 == 0) text.resize(random() % text.size());
    for (int k = 0; k < 3 && i % 2 == 1; ++k) text[random() % text.size()] = static_cast<char>(random());
    LoadError("tokenizer.json", text);
  }
}

TEST(SentencePiece, NoFileEndsTheProcess) {
  const std::string whole = TrainTokenizer();
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = whole;
    if (i % 2 == 0) bytes.resize(random() % bytes.size());
    for (int k = 0; k < 3 && i % 2 == 1; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    LoadError("tokenizer.model", bytes);
  }
}

TEST(TokenizerConfig, HonoursOrRefusesWhatChangesTokens) {
  const std::string json = SmallTokenizerJson().dump();
  struct Case {
    const char *config, *error;  // no error: it loads
  };
  for (const Case& c : std::vector<Case>{
           {R"({})", ""},
           {R"({"add_bos_token":true,"add_eos_token":false,"tokenizer_class":"GemmaTokenizerFast"})", ""},
           {R"({"bos_token":"<bos>","pad_token":{"content":"<eos>","special":true},"unk_token":"<unk>"})", ""},
           {R"({"added_tokens_decoder":{"2":{"content":"<bos>","special":true,"lstrip":true}},"chat_template":"x"})",
            ""},
           {R"({"sp_model_kwargs":{},"extra_special_tokens":["<x>"],"model_max_length":1e30})", ""},
           {R"({"add_bos_token":false})", "'add_bos_token'"},
           {R"({"add_eos_token":true})", "'add_eos_token'"},
           {R"({"add_prefix_space":true})", "'add_prefix_space'"},
           {R"({"do_lower_case":true})", "'do_lower_case'"},
           {R"({"sp_model_kwargs":{"enable_sampling":true}})", "'sp_model_kwargs'"},
           {R"({"auto_map":{"AutoTokenizer":["x.y",null]}})", "'auto_map'"},
           {R"({"tokenizer_class":"LlamaTokenizer"})", "'tokenizer_class' is 'LlamaTokenizer'"},
           {R"({"bos_token":"<s>"})", "'bos_token' is '<s>', which the tokenizer does not have"},
           {R"({"bos_token":"<eos>"})", "'bos_token' is '<eos>', but"},
           {R"({"bos_token":7})", "'bos_token' must be a token"},
           {R"({"pad_token":"<none>"})", "'pad_token' is '<none>', which"},
           {R"({"added_tokens_decoder":{"7":{"content":"<new>"}}})", "gives '<new>' the id 7, which it does not have"},
           {R"({"added_tokens_decoder":{"4":{"content":"\n\n","rstrip":true}}})", "entry '4' with rstrip"},
           {R"({"added_tokens_decoder":{"x":{"content":"<bos>"}}})", "entry 'x' that is no token"},
           {R"({"added_tokens_decoder":[]})", "'added_tokens_decoder' must be an object"},
           {R"({"word_dropout":0.1})", "'word_dropout' is not known"},
       }) {
    const std::string error = LoadError("tokenizer.json", json, c.config);
    if (*c.error == '\0') {
      EXPECT_EQ(error, "") << c.config;
    } else {
      EXPECT_THAT(error, AllOf(HasSubstr("tokenizer_config.json: "), HasSubstr(c.error))) << c.config;
    }
  }
  // Without a post-processor it is the config that says what a text begins with.
  Json file = SmallTokenizerJson();
  file["post_processor"] = nullptr;
  EXPECT_EQ(LoadError("tokenizer.json", file.dump(), R"({"add_bos_token":true,"bos_token":"<bos>"})"), "");
  EXPECT_THAT(LoadError("tokenizer.json", file.dump(), R"({"bos_token":"<bos>"})"), HasSubstr("beginning of a text"));
}

TEST(Tokenizer, TakesTheModelFileWhereBothAreThere) {
  const TempFolder folder;
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              AllOf(HasSubstr(folder.path()), HasSubstr("neither tokenizer.model nor tokenizer.json")));
  folder.Write("tokenizer.json", SmallTokenizerJson().dump());
  EXPECT_EQ(Tokenizer::Load(folder.path())->vocabulary(), 301);
  folder.Write("tokenizer.model", TrainTokenizer());
  EXPECT_EQ(Tokenizer::Load(folder.path())->vocabulary(), 330);
}

}  // namespace
}  // namespace longtake
