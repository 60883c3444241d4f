"""Asks as AWS's own client asks: by account, by instance and with the content of a document. What is wrong raises."""

import json
import sys

import boto3
from botocore.exceptions import ClientError

account, host, content = sys.argv[1:]
role = f"arn:aws:iam::{account}:role/grantd"
keys = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
iam, ec2, ssm = (session.client(service) for service in ("iam", "ec2", "ssm"))


def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("it was not refused")


policy = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess"
iam.attach_role_policy(RoleName="OpsOnCall", PolicyArn=policy)
attached = iam.list_attached_role_policies(RoleName="OpsOnCall")["AttachedPolicies"]
assert attached == [{"PolicyName": "AmazonEC2ReadOnlyAccess", "PolicyArn": policy}], attached
assert refused(iam.delete_role, RoleName="OpsOnCall") == "AccessDenied"

tags = [{"Name": "tag:AccessGroup", "Values": ["JITAdmins"]}]
[reservation] = ec2.describe_instances(Filters=tags)["Reservations"]
[instance] = reservation["Instances"]
assert (instance["InstanceId"], instance["Platform"]) == (host, "windows"), instance
assert refused(ec2.stop_instances, InstanceIds=[host]) == "RequestExpired"

assert refused(ssm.list_documents) == "AccessDeniedException"
ssm.create_document(Name="add", Content=content, DocumentType="Command", DocumentFormat="JSON")
document = ssm.describe_document(Name="add")["Document"]
ids = [{"Key": "InstanceIds", "Values": [host]}]
[information] = ssm.describe_instance_information(Filters=ids)["InstanceInformationList"]
assert (information["PingStatus"], information["PlatformType"]) == ("Online", "Windows"), information
end = "2099-01-01T00:00:00Z"
parameters = {"User": ["corp\\jdoe"], "Until": [end], "ActBy": [end], "Grants": ["inc-1"], "Nonce": ["abcd"]}
parameters["Verb"] = ["grant"]
pinned = {"DocumentName": "add", "DocumentVersion": document["DocumentVersion"], "DocumentHash": document["Hash"]}
command = ssm.send_command(InstanceIds=[host], Parameters=parameters, MaxErrors="100%", **pinned)["Command"]
assert command["ExpiresAfter"] > command["RequestedDateTime"], command
assert refused(ssm.get_command_invocation, CommandId=command["CommandId"], InstanceId=host) == "InvocationDoesNotExist"
ssm.get_waiter("command_executed").wait(
    CommandId=command["CommandId"], InstanceId=host, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
)
[invocation] = ssm.list_command_invocations(CommandId=command["CommandId"], Details=True)["CommandInvocations"]
assert json.loads(invocation["CommandPlugins"][0]["Output"])["result"] == "done", invocation
long_ago = [{"key": "InvokedAfter", "value": "2000-01-01T00:00:00Z"}]
[listed] = ssm.list_commands(Filters=long_ago)["Commands"]
assert (listed["InstanceIds"], listed["Parameters"]) == ([host], parameters), listed
assert listed["RequestedDateTime"] == command["RequestedDateTime"], listed
assert ssm.list_commands(Filters=[{"key": "InvokedAfter", "value": end}])["Commands"] == []
assert refused(ssm.send_command, InstanceIds=["i-99999999"], Parameters=parameters, **pinned) == "InvalidInstanceId"
