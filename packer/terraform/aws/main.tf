# Ringfence in a VPC of its own on AWS: private addresses, an elastic IP that
# leads to the instance one to one, and the port table as its security group.
#
#   mkdir rules
#   ringfence ports -documented -format aws-terraform -management 203.0.113.7 > rules/main.tf
#   terraform init
#   terraform apply -var ami=ami-...

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "ami" {
  type        = string
  description = "The AMI that packer/amazon.pkr.hcl made."
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "user_data" {
  type        = string
  default     = "user-data.yaml"
  description = "Answers given beforehand, as in the administrator's guide."
}

provider "aws" {
  region = var.region
}

resource "aws_vpc" "ringfence" {
  cidr_block                       = "10.10.0.0/16"
  assign_generated_ipv6_cidr_block = true
  tags                             = { Name = "ringfence" }
}

resource "aws_subnet" "ringfence" {
  vpc_id          = aws_vpc.ringfence.id
  cidr_block      = "10.10.1.0/24"
  ipv6_cidr_block = cidrsubnet(aws_vpc.ringfence.ipv6_cidr_block, 8, 1)
}

resource "aws_internet_gateway" "ringfence" {
  vpc_id = aws_vpc.ringfence.id
}

resource "aws_route_table" "ringfence" {
  vpc_id = aws_vpc.ringfence.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.ringfence.id
  }

  route {
    ipv6_cidr_block = "::/0"
    gateway_id      = aws_internet_gateway.ringfence.id
  }
}

resource "aws_route_table_association" "ringfence" {
  subnet_id      = aws_subnet.ringfence.id
  route_table_id = aws_route_table.ringfence.id
}

resource "aws_security_group" "ringfence" {
  name        = "ringfence"
  description = "The port table of Ringfence"
  vpc_id      = aws_vpc.ringfence.id

  egress {
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

module "rules" {
  source            = "./rules"
  security_group_id = aws_security_group.ringfence.id
}

resource "aws_instance" "ringfence" {
  ami                    = var.ami
  instance_type          = var.instance_type
  subnet_id              = aws_subnet.ringfence.id
  vpc_security_group_ids = [aws_security_group.ringfence.id]
  user_data              = file(var.user_data)
  tags                   = { Name = "ringfence" }

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 16
    encrypted   = true
  }
}

resource "aws_eip" "ringfence" {
  domain   = "vpc"
  instance = aws_instance.ringfence.id
}

output "public_address" {
  value = aws_eip.ringfence.public_ip
}
