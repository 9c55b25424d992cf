#include "server/grpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/grpc/status.h"

namespace longtake::server {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

constexpr const char* kServices[] = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection",
                                     "longtake.v1.ModelService", "longtake.v1.VideoService"};

// The file behind all that it imports, so that a client can load them in this order.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>& added, ServerReflectionResponse& response) {
  if (!added.insert(&file).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), added, response);
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  *response.mutable_file_descriptor_response()->add_file_descriptor_proto() = proto.SerializeAsString();
}

void SetError(ServerReflectionResponse& response, grpc::StatusCode code, const std::string& message) {
  response.mutable_error_response()->set_error_code(code);
  response.mutable_error_response()->set_error_message(message);
}

ServerReflectionResponse Answer(const ServerReflectionRequest& request) {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const FileDescriptor* file = nullptr;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      for (const char* name : kServices) response.mutable_list_services_response()->add_service()->set_name(name);
      return response;
    case ServerReflectionRequest::kFileByFilename:
      file = pool.FindFileByName(request.file_by_filename());
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      file = pool.FindFileContainingSymbol(request.file_containing_symbol());
      break;
    default:  // the API has no extensions
      SetError(response, grpc::StatusCode::UNIMPLEMENTED, "extensions are not described");
      return response;
  }
  std::set<const FileDescriptor*> added;
  if (file != nullptr) {
    AddFile(*file, added, response);
  } else {
    SetError(response, grpc::StatusCode::NOT_FOUND, "there is no such file or symbol");
  }
  return response;
}

// One call: answers one request after the other.
class Call : public grpc::ServerBidiReactor<ServerReflectionRequest, ServerReflectionResponse> {
 public:
  Call(grpc::CallbackServerContext* context, const absl::Status& refusal) : context_(context) {
    if (refusal.ok()) {
      StartRead(&request_);
    } else {
      Finish(ToGrpc(refusal, context));
    }
  }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(ToGrpc(absl::OkStatus(), context_));
    response_ = Answer(request_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(ToGrpc(absl::CancelledError(""), context_));
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  grpc::CallbackServerContext* const context_;
  ServerReflectionRequest request_;
  ServerReflectionResponse response_;
};

}  // namespace

grpc::ServerBidiReactor<ServerReflectionRequest, ServerReflectionResponse>* ReflectionService::ServerReflectionInfo(
    grpc::CallbackServerContext* context) {
  return new Call(context, door_->Identify(*context).status());
}

}  // namespace longtake::server
