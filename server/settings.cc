#include "server/settings.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/check_files.h"
#include "server/options_file.h"

namespace longtake::server {
namespace {

// A flag of seconds; its default is what `target` holds.
CLI::Option* AddSeconds(CLI::App& app, const char* name, absl::Duration& target, const char* help) {
  return app
      .add_option_function<double>(
          name, [&target](double seconds) { target = absl::Seconds(seconds); }, help)
      ->default_str(absl::StrCat(absl::ToDoubleSeconds(target)));
}

// A flag of MiB, from 1 to `most`; its default is what `bytes` holds.
void AddMib(CLI::App& app, const char* name, int64_t& bytes, int most, const char* help) {
  app.add_option_function<int64_t>(
         name, [&bytes](int64_t mib) { bytes = mib << 20; }, help)
      ->check(CLI::Range(1, most))
      ->default_str(absl::StrCat(bytes >> 20));
}

void AddLifecycleFlags(CLI::App& app, ServerOptions& options) {
  LifecycleOptions& lifecycle = options.lifecycle;
  AddSeconds(app, "--shutdown-grace-seconds", lifecycle.shutdown_grace,
             "After SIGTERM: not ready, but new requests are taken, until balancers have noticed; SIGINT skips it")
      ->check(CLI::NonNegativeNumber);
  AddSeconds(app, "--shutdown-seconds", lifecycle.shutdown_limit, "From SIGTERM or SIGINT to the end of everything")
      ->check(CLI::NonNegativeNumber);
  AddSeconds(app, "--shutdown-reading-seconds", lifecycle.shutdown_reading,
             "The last of these: running videos are ended, and their viewers read what was finished")
      ->check(CLI::NonNegativeNumber);
  KeepaliveOptions& keepalive = options.keepalive;
  AddSeconds(app, "--keepalive-seconds", keepalive.interval, "A client that is silent for so long is pinged")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--keepalive-timeout-seconds", keepalive.timeout, "And given up without an answer within so long")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--min-client-ping-seconds", keepalive.min_client_interval,
             "Clients that ping more often, without any data between, are disconnected")
      ->check(CLI::PositiveNumber);
  ConnectionLimits& connections = options.connections;
  app.add_option("--max-connections", connections.all,
                 "Connections of --listen and --http-listen together; for one more the one that has been idle for "
                 "longest is closed, or it is turned away where none is idle. ulimit -n may leave room for fewer")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-connections-per-address", connections.by_address,
                 "Of them from one address (of IPv6 one /64), in the same way; 0: no limit of its own, since all "
                 "clients behind a proxy have its address")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  AddSeconds(app, "--stuck-seconds", options.studio.stuck_after,
             "Passes under way for so long, and for --stuck-factor times their prediction, turn health off")
      ->check(CLI::PositiveNumber);
  app.add_option("--stuck-factor", options.studio.stuck_factor, "See --stuck-seconds")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void AddAccessFlags(CLI::App& app, ServerOptions& options) {
  AccessOptions& access = options.access;
  app.add_option("--tokens", access.tokens,
                 "File of who may call: a line has tenant, name and the SHA-256 of a token, so that reading it gives "
                 "nobody a token. Without any of --tokens, --jwks and --tls-client-ca everybody may do everything");
  app.add_option("--jwks", access.jwt.keys, "JWKS file of an identity provider, whose JSON Web Tokens are accepted");
  app.add_option("--jwt-issuer", access.jwt.issuer, "What their claim iss must be; no default, or others' would do");
  app.add_option("--jwt-audience", access.jwt.audience, "And aud, so that tokens for other services are refused");
  app.add_option("--jwt-tenant-claim", access.jwt.tenant_claim, "The claim that names the tenant")
      ->capture_default_str();
  app.add_option("--link-keys", options.links.keys,
                 "File of keys, a line each in hexadecimal, with which viewing links are signed: the first signs, all "
                 "verify. Without it there are no links, since who may watch is then asked of everybody");
  AddSeconds(app, "--link-max-seconds", options.links.longest,
             "A viewing link holds for so long at most, since it can only be taken back together with its key")
      ->check(CLI::PositiveNumber);
  app.add_option(
      "--operator-tenant", options.operator_tenant,
      "The tenant whose callers may see all videos, at /status of --metrics-listen, which longtake top reads; "
      "where callers are not asked who they are, all may");
  app.add_option("--quotas", options.quotas,
                 "JSON file of what each tenant may have; docs/access.md describes it. Without it nothing is limited");
  PolicyOptions& policy = options.policy;
  app.add_option("--policy-service", policy.service,
                 "Address of a longtake.policy.v1.PolicyService that decides what may be made; docs/policy.md. Without "
                 "it and --policy-rules everything may be");
  app.add_option("--policy-ca", policy.authorities,
                 "Authorities of its certificate, PEM; without it the connection is plain text, for a service beside "
                 "the server");
  app.add_option("--policy-rules", policy.rules, "Or JSON file of rules by which the server decides itself");
  AddSeconds(app, "--policy-timeout-seconds", policy.timeout,
             "Of one question to the service: a caller waits for so long at most before it learns that there is no "
             "answer")
      ->check(CLI::PositiveNumber);
  app.add_option_function<std::string>(
         "--policy-fail", [&policy](const std::string& fail) { policy.fail_open = fail == "open"; },
         "What the service does not answer about is refused (closed) or made (open); closed, so that no policy is lost "
         "unseen")
      ->check(CLI::IsMember({"open", "closed"}))
      ->default_str("closed");
  app.add_option("--tls-cert", options.tls.certificate,
                 "Certificate of the server with its chain, PEM, read again when it changes; without it connections "
                 "are plain text");
  app.add_option("--tls-key", options.tls.key, "Its key");
  app.add_option("--tls-client-ca", options.tls.client_authorities,
                 "Authorities, PEM: a client's certificate by one of them says who it is, by O= the tenant");
  app.add_flag("--production", options.production,
               "Without reflection, which describes the API to whoever may call it");
}

void AddStoreFlags(CLI::App& app, ServerOptions& options) {
  app.add_option("--store", options.store,
                 "Directory in which videos outlive the process, or s3://bucket/prefix; without it they are in memory "
                 "only");
  S3Options& s3 = options.s3;
  app.add_option("--store-endpoint", s3.endpoint,
                 "Of --store s3://: https://host:port of a service other than Amazon's; buckets are in its paths");
  app.add_option("--store-region", s3.region, "Of --store s3://: the bucket's region")->capture_default_str();
  app.add_option(
      "--store-credentials-file", s3.credentials_file,
      "Of --store s3://: file with aws_access_key_id and aws_secret_access_key, read again when its keys have "
      "ended; without it AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment");
  app.add_option("--store-ca", s3.authorities,
                 "Of --store-endpoint: authorities of its certificate, PEM; without it the system's");
  AddSeconds(app, "--store-retry-seconds", s3.retry,
             "Of --store s3://: a write that fails is tried again for so long before its video is stored no further")
      ->check(CLI::Range(0.0, 3600.0));
  app.add_option("--registry", options.registry,
                 "redis://host:port of the Redis by which servers that share --store know who makes which video; "
                 "without it no other server may use the store");
  app.add_option("--peer-ca", options.peer_ca,
                 "Authorities of the certificates of servers that share --store, PEM; needed with --tls-cert");
  app.add_option(
      "--peer-name", options.peer_name,
      "DNS name in these servers' certificates and in no client's: a caller with it is a server, and says on "
      "whose behalf it calls. Without it clients that only a certificate identifies must ask the right server");
  app.add_option("--registry-password-file", options.registry_password_file, "File with its password");
  app.add_option("--advertise", options.advertise,
                 "Address and port by which other servers reach --listen; needed where that is of all interfaces");
  app.add_option("--advertise-http", options.advertise_http, "The same of --http-listen");
  AddSeconds(app, "--lease-seconds", options.lease,
             "A server that has not been heard of for so long loses its videos to others, which go on with them")
      ->check(CLI::Range(0.1, 300.0));
  AddMib(app, "--store-mib", options.studio.store_bytes, 1 << 30,
         "Of it for chunks, in MiB; above it the oldest ended videos are removed");
  AddSeconds(app, "--store-seconds", options.studio.store_age, "A stored video is removed so long after its end")
      ->check(CLI::PositiveNumber);
}

// As other programs for S3 find them.
AwsCredentials CredentialsOfEnvironment() {
  const auto value = [](const char* name) {
    const char* const text = std::getenv(name);
    return std::string(text == nullptr ? "" : text);
  };
  return {value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"), value("AWS_SESSION_TOKEN")};
}

void AddFlags(CLI::App& app, Settings& settings) {
  StudioOptions& studio = settings.server.studio;
  app.add_option("--model", settings.engine.model_dir, "Model folder in diffusers' layout");
  app.add_option("--adapters", settings.engine.adapters_dir,
                 "Folder of low-rank adapters (LoRA), which requests may name; without it there are none");
  app.add_option(
      "--weight-cache", settings.engine.weight_cache_dir,
      "Of cpu: folder that keeps packed weights, so that the next start is fast; without it they are not kept");
  app.add_option("--listen", settings.server.listen, "Address and port to serve on")->capture_default_str();
  app.add_option("--metrics-listen", settings.server.metrics_listen,
                 "Address and port of /metrics, /livez, /readyz and /startupz over HTTP; without it there are none");
  app.add_option("--http-listen", settings.server.http_listen,
                 "Address and port of videos over HTTP: JSON, growing MP4, HLS and a page; without it there are none");
  app.add_flag("--http-page,!--no-http-page", settings.server.http_page, "Of --http-listen: the page at /")
      ->default_str(settings.server.http_page ? "true" : "false");
  app.add_option("--http-allow-origin", settings.server.http_allow_origin,
                 "Of --http-listen: pages of this origin may use it, * those of all; without it its own page alone");
  app.add_option("--backend", settings.engine.backend, "cpu, cuda or reference")
      ->check(CLI::IsMember({"cpu", "cuda", "reference"}))
      ->capture_default_str();
  app.add_option(
         "--dtype", settings.engine.dtype,
         "Of the transformer: auto, float32 or bfloat16; of cpu int8; of cuda float8 or nvfp4, which cpu computes too, "
         "for evaluations")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "int8", "float8", "nvfp4"}))
      ->capture_default_str();
  app.add_option("--text-dtype", settings.engine.text_dtype,
                 "Of the text encoder: auto (as activations of --dtype), float32, bfloat16 or int8")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "int8"}))
      ->capture_default_str();
  app.add_option("--vae-dtype", settings.engine.vae_dtype, "Of the VAE: auto (as --dtype), float32 or bfloat16")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--devices", settings.engine.devices, "Of cuda: which, as the driver counts; sessions share them")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--isa", settings.engine.isa, "auto, or the highest instruction set to use")
      ->check(CLI::IsMember({"auto", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_bf16"}))
      ->capture_default_str();
  app.add_option("--threads", settings.engine.threads,
                 "Threads of the engine; 0: one for each physical core, within the cgroup's quota")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-sessions", settings.engine.max_sessions, "Videos made at the same time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--decoder-cache-slots", settings.engine.decoder_cache_slots,
                 "Of these, whose decoder caches are on the device at once; the others' wait in host memory; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag(
      "--cuda-graphs", settings.engine.cuda_graphs,
      "Launch transformer passes that come again as one CUDA graph; scripts/gpu.sh measures whether that gains");
  app.add_option_function<int>(
         "--live-places", [&studio](int places) { studio.live_places = places; },
         "Of them, those that offline requests may not take; without it half of them")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-waiting", studio.max_waiting, "Live requests that may wait beyond those; offline as many")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-first-image-bytes", studio.limits.max_first_image_bytes,
                 "Of the picture that a video begins with; above it the request is refused")
      ->check(CLI::Range(int64_t{1}, int64_t{15} << 20))
      ->capture_default_str();
  app.add_option("--max-first-image-pixels", studio.limits.max_first_image_pixels,
                 "Of it, by its header; decoding takes 4 bytes of memory for each")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 28))
      ->capture_default_str();
  app.add_option("--max-live-load", studio.max_live_load,
                 "Share of the engine that live videos may need to keep up; others wait")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  AddStoreFlags(app, settings.server);
  AddMib(app, "--keep-mib", studio.keep_bytes, 1 << 20,
         "Memory for the chunks of videos, in MiB; above it the oldest ended videos lose theirs");
  AddSeconds(app, "--max-wait-seconds", studio.max_wait,
             "Requests with a longer predicted wait for a place are refused, and those that have waited so long end")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--lead-seconds", studio.lead, "So far ahead of its viewer a live video gives way to all other work")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--max-lead-seconds", studio.max_lead, "So far ahead it waits, even if there is no other work")
      ->check(CLI::PositiveNumber);
  AddSeconds(app, "--max-unread-seconds", studio.max_unread, "A client that reads nothing for so long is given up")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-batch-passes", studio.max_batch_passes, "Passes that share one batch on the engine")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  AddLifecycleFlags(app, settings.server);
  AddAccessFlags(app, settings.server);
  app.add_option("--log-level", settings.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--log-format",
         [&settings](const std::string& name) {
           settings.log_format = name == "json" ? LogFormat::kJson : LogFormat::kText;
         },
         "text: a message with name=value behind it; json: an object a line")
      ->check(CLI::IsMember({"text", "json"}))
      ->default_str("text");
  app.add_option_function<std::string>(
         "--log-calls",
         [&settings](const std::string& name) {
           settings.server.log_calls = name == "off"     ? CallLogLevel::kOff
                                       : name == "info"  ? CallLogLevel::kInfo
                                       : name == "debug" ? CallLogLevel::kDebug
                                                         : CallLogLevel::kAuto;
         },
         "Level of the line about each finished call: auto, info, debug or off. auto: debug for calls that only read, "
         "warn for those that failed by the server's fault, else info")
      ->check(CLI::IsMember({"auto", "info", "debug", "off"}))
      ->default_str("auto");
  TraceOptions& trace = settings.server.trace;
  app.add_option("--otlp-endpoint", trace.endpoint,
                 "Collector of traces, http://HOST:4318: spans go to /v1/traces behind it, as OTLP in JSON; without it "
                 "there are no traces");
  app.add_option("--trace-ratio", trace.ratio,
                 "Of the calls whose client says nothing of a trace, the share that is traced; others are as it says")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--trace-instance", trace.instance,
                 "What traces call this server (service.instance.id), as a pod's name; without it a random one");
}

void AddFileFlags(CLI::App& app, bool& print, bool& check) {
  app.set_config("--config", "", "File of options, one `name = value` a line (TOML); the command line comes first");
  app.get_config_ptr()->check(CLI::ExistingFile);
  app.config_formatter(std::make_shared<OptionsFile>(&app));
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_flag("--print-config", print,
               "Print all options with their values and where these come from, as --config reads them, and end")
      ->configurable(false);
  app.add_flag("--check-config", check,
               "Read the options and the files that they name, say what is wrong with them, and end")
      ->configurable(false);
}

// Says which options there are in place of those that there are not.
void SayNearest(const CLI::App& app, std::ostream& err) {
  for (const std::string& word : app.remaining()) {
    const std::string name = word.substr(0, word.find('='));
    if (!absl::StartsWith(name, "--")) continue;
    const std::string nearest = NearestOption(app, name.substr(2), /*of_file=*/false);
    if (!nearest.empty()) err << name << ": --" << nearest << " is the nearest option\n";
  }
}

int Check(const Settings& settings, std::ostream& err) {
  const std::vector<std::string> wrong = CheckFiles(settings.engine, settings.server);
  for (const std::string& each : wrong) err << each << "\n";
  return wrong.empty() ? 0 : 1;
}

}  // namespace

std::variant<Settings, int> ReadSettings(int argc, const char* const* argv, const BuildInfo& build, std::ostream& out,
                                         std::ostream& err) {
  Settings settings;
  settings.server.build = build;
  settings.server.s3.credentials = CredentialsOfEnvironment();
  bool print = false, check = false;
  CLI::App app("Serves long generated video over gRPC (longtake.v1).", "longtake-server");
  app.set_version_flag("--version", VersionLine(app.get_name(), build))->configurable(false);
  AddFlags(app, settings);
  AddFileFlags(app, print, check);
  try {
    app.parse(argc, argv);
    if (print) {
      out << app.config_to_str(/*default_also=*/true, /*write_description=*/true);
      return 0;
    }
    if (settings.engine.model_dir.empty()) throw CLI::RequiredError("--model");
  } catch (const CLI::ConfigError& error) {
    err << "In " << app.get_config_ptr()->as<std::string>() << ":\n";
    return app.exit(error, out, err);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error, out, err);
    if (status != 0) SayNearest(app, err);
    return status;
  }
  if (check) return Check(settings, err);
  StudioOptions& studio = settings.server.studio;
  studio.max_sessions = settings.engine.max_sessions;
  studio.live_places = std::min(studio.live_places, studio.max_sessions);
  return settings;
}

}  // namespace longtake::server
