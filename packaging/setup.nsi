; The setup for Windows: for this user only, without administrator rights. `/S` installs silently, `/D=` chooses a directory.
Target amd64-unicode
SetCompressor /SOLID lzma
Name "git-remote-bbtoken ${VERSION}"
OutFile "${OUTPUT}"
InstallDir "$LOCALAPPDATA\Programs\git-remote-bbtoken"
RequestExecutionLevel user
ManifestDPIAware true
VIProductVersion "${NUMBERS}.0"
VIAddVersionKey ProductName "git-remote-bbtoken"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "git remote helper for Bitbucket"
VIAddVersionKey LegalCopyright "MIT OR Apache-2.0"
!include LogicLib.nsh
!include WinMessages.nsh
!include StrFunc.nsh
${StrStr}
${UnStrRep}
!define ENTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\git-remote-bbtoken"

; $0 becomes the user's PATH, and $1 "no" if it must stay as it is: NSIS reads a value that is too long as if there were
; none, and cuts a text that becomes too long.
!macro READ_PATH
  StrCpy $1 ""
  ClearErrors
  ReadRegStr $0 HKCU "Environment" "Path"
  ${If} ${Errors}
    StrCpy $2 0
    ${Do}
      ClearErrors
      EnumRegValue $3 HKCU "Environment" $2
      ${If} ${Errors}
        ${ExitDo}
      ${EndIf}
      ${If} $3 == "Path"
        StrCpy $1 "no"
      ${EndIf}
      IntOp $2 $2 + 1
    ${Loop}
  ${EndIf}
  StrLen $2 "$0;$INSTDIR"
  IntOp $3 ${NSIS_MAX_STRLEN} - 32
  ${If} $2 > $3
    StrCpy $1 "no"
  ${EndIf}
!macroend

Page directory
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

Section
  ; The version before may have brought files that this one lacks.
  ReadRegStr $0 HKCU "${ENTRY}" "InstallLocation"
  ${If} $0 == $INSTDIR
  ${AndIf} ${FileExists} "$INSTDIR\uninstall.exe"
    ExecWait '"$INSTDIR\uninstall.exe" /S _?=$INSTDIR'
  ${EndIf}

  SetOutPath "$INSTDIR"
  File /r "${STAGE}\*"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKCU "${ENTRY}" "DisplayName" "git-remote-bbtoken"
  WriteRegStr HKCU "${ENTRY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${ENTRY}" "URLInfoAbout" "${HOMEPAGE}"
  WriteRegStr HKCU "${ENTRY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${ENTRY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${ENTRY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'

  !insertmacro READ_PATH
  ${StrStr} $2 ";$0;" ";$INSTDIR;"
  ${If} $2 == ""
    ${If} $1 == "no"
      MessageBox MB_OK "Your PATH is too long for this setup. Add this directory to it: $INSTDIR" /SD IDOK
    ${Else}
      ${If} $0 != ""
        StrCpy $0 "$0;"
      ${EndIf}
      WriteRegExpandStr HKCU "Environment" "Path" "$0$INSTDIR"
      SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
    ${EndIf}
  ${EndIf}
SectionEnd

Section Uninstall
  ; Only what the setup brought, file by file: the user may have chosen a directory with other files.
  !include "${STAGE}.nsh"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  DeleteRegKey HKCU "${ENTRY}"
  ; Run by the setup of another version, it stands in its own directory. PATH stays then.
  ${If} $EXEDIR == $INSTDIR
    Return
  ${EndIf}
  !insertmacro READ_PATH
  ${UnStrRep} $2 ";$0;" ";$INSTDIR;" ";"
  ${If} $1 == ""
  ${AndIf} $2 != ";$0;"
    ; Without the two ends that were added.
    StrCpy $2 $2 -1 1
    ${If} $2 == ""
      DeleteRegValue HKCU "Environment" "Path"
    ${Else}
      WriteRegExpandStr HKCU "Environment" "Path" "$2"
    ${EndIf}
    SendMessage ${HWND_BROADCAST} ${WM_SETTINGCHANGE} 0 "STR:Environment" /TIMEOUT=5000
  ${EndIf}
SectionEnd
