<#
.SYNOPSIS
Watches a training run on another machine from Windows; monitor_training.sh does the same elsewhere.

.DESCRIPTION
Never run on Windows so far: its syntax was checked by a parser only.

Runs `run.py monitor` on the training machine over ssh (the OpenSSH client of Windows 10 and later)
and connects again when the connection is lost. Nothing here can disturb the run: Ctrl-C ends only
the watching. With -Spot it shows a run that spot.py rents machines for, through its bucket.

.PARAMETER HostName
Machine to watch, as ssh takes it: user@host.

.PARAMETER Folder
output_dir of runs on that machine; by default the teacher's and the student's.

.PARAMETER KeyFile
Private key for ssh.

.PARAMETER Port
Port of ssh.

.PARAMETER RemoteFolder
Where the project is on that machine.

.PARAMETER RemotePython
Python on that machine, seen from the project.

.PARAMETER Once
Shows the state and ends.

.PARAMETER Json
One JSON object on stdout, once.

.PARAMETER Spot
A run of spot.py: its state, then its log as it grows. Needs the project and its Python here.

.PARAMETER Config
With -Spot: configuration files of the run.

.EXAMPLE
.\monitor_training.ps1 root@47.96.0.1 models/teacher

.EXAMPLE
.\monitor_training.ps1 root@47.96.0.1 -Once -Json | ConvertFrom-Json
#>
[CmdletBinding(DefaultParameterSetName = 'Ssh')]
param(
    [Parameter(Mandatory = $true, Position = 0, ParameterSetName = 'Ssh')]
    [string] $HostName,

    [Parameter(Position = 1, ValueFromRemainingArguments = $true, ParameterSetName = 'Ssh')]
    [string[]] $Folder = @(),

    [Parameter(ParameterSetName = 'Ssh')]
    [string] $KeyFile,

    [Parameter(ParameterSetName = 'Ssh')]
    [ValidateRange(1, 65535)]
    [int] $Port,

    [Parameter(ParameterSetName = 'Ssh')]
    [string] $RemoteFolder = 'linguabridge',

    [Parameter(ParameterSetName = 'Ssh')]
    [string] $RemotePython = '.venv/bin/python',

    [switch] $Once,

    [Parameter(ParameterSetName = 'Ssh')]
    [switch] $Json,

    [Parameter(Mandatory = $true, ParameterSetName = 'Spot')]
    [switch] $Spot,

    [Parameter(ParameterSetName = 'Spot')]
    [string[]] $Config = @()
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$SshFailed = 255
$FirstWait = 5
$LongestWait = 60

function ConvertTo-ShellWord {
    # One word of a POSIX shell: everything in single quotes, a single quote as '\''.
    param([string] $Text)
    return "'" + $Text.Replace("'", "'\''") + "'"
}

function Watch-Spot {
    $root = (Resolve-Path (Join-Path $PSScriptRoot '../..')).Path
    $python = $env:PYTHON
    if (-not $python) {
        $python = Join-Path $root '.venv/Scripts/python.exe'
    }
    $script = Join-Path $root 'deploy/aliyun/spot.py'
    $options = @()
    foreach ($file in $Config) {
        $options += @('--config', $file)
    }
    & $python $script 'status' @options
    if (($LASTEXITCODE -eq 0) -and (-not $Once)) {
        & $python $script 'logs' '--follow' @options
    }
    $script:ExitCode = $LASTEXITCODE
}

function Watch-Host {
    if (-not (Get-Command ssh -ErrorAction SilentlyContinue)) {
        [Console]::Error.WriteLine('monitor_training.ps1: there is no ssh; add the Windows feature "OpenSSH Client"')
        $script:ExitCode = 2
        return
    }
    $words = @($RemotePython, 'run.py', 'monitor') + $Folder
    if ($Once) {
        $words += '--once'
    }
    if ($Json) {
        $words += '--json'
    }
    $quoted = ($words | ForEach-Object { ConvertTo-ShellWord $_ }) -join ' '
    $command = 'cd ' + (ConvertTo-ShellWord $RemoteFolder) + ' && ' + $quoted

    $options = @('-o', 'ConnectTimeout=10', '-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=4')
    if ($Port) {
        $options += @('-p', "$Port")
    }
    if ($KeyFile) {
        $options += @('-i', $KeyFile)
    }
    $isOnce = $Once -or $Json
    if (-not $isOnce) {
        $options += '-t'
    }

    $wait = $FirstWait
    while ($true) {
        $began = Get-Date
        & ssh @options '--' $HostName $command
        $script:ExitCode = $LASTEXITCODE
        if (($script:ExitCode -ne $SshFailed) -or $isOnce) {
            return
        }
        # A connection that held shows that the machine is there: begin with short waits again.
        if (((Get-Date) - $began).TotalSeconds -gt $LongestWait) {
            $wait = $FirstWait
        }
        [Console]::Error.WriteLine("monitor_training.ps1: no connection to $HostName; trying again in $wait s (Ctrl-C ends)")
        Start-Sleep -Seconds $wait
        $wait = [Math]::Min(2 * $wait, $LongestWait)
    }
}

# Called as statements and not as values, so that what they print goes on to the terminal or a pipe.
$ExitCode = 0
if ($Spot) {
    Watch-Spot
}
else {
    Watch-Host
}
exit $ExitCode
